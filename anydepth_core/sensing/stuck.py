"""Recognising a sensor that repeats one value while its neighbours move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class _Still:
    """One value, since when it has not changed, and what the others read at that moment."""

    value: float
    since_s: float
    others: Mapping[str, float]
    others_moved: bool = False


class StuckWatch:
    """Watches sensors that share a cause (one board's zones, one board's rails).

    A steady value alone proves nothing: an idle robot is steady. It is called stuck when it has
    not changed at all for ``after_s`` and in that time another sensor moved by ``swing`` or more.
    If every sensor freezes at once there is nothing to compare with, and none is called stuck.
    """

    def __init__(self, after_s: float, swing: float) -> None:
        """Set what counts as stuck.

        Args:
            after_s: seconds without any change.
            swing: movement of another sensor, in the unit of the values.
        """
        self.after_s = after_s
        self.swing = swing
        self._still: dict[str, _Still] = {}

    def update(self, time_s: float, values: Mapping[str, float]) -> set[str]:
        """Take the values of one moment.

        Args:
            time_s: any clock; a clock that goes back starts the wait anew.
            values: by sensor name; a missing sensor keeps its state.

        Returns:
            The names that are stuck.
        """
        stuck = set()
        for name, value in values.items():
            still = self._still.get(name)
            if still is None or still.value != value or time_s < still.since_s:
                self._still[name] = _Still(value, time_s, values)
                continue
            still.others_moved = still.others_moved or self._moved(still.others, values)
            if still.others_moved and time_s - still.since_s >= self.after_s:
                stuck.add(name)
        return stuck

    def _moved(self, before: Mapping[str, float], now: Mapping[str, float]) -> bool:
        return any(abs(now[name] - before[name]) >= self.swing for name in now if name in before)

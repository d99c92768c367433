"""Safety that acts at once: hard temperature limits and over-current."""

from __future__ import annotations

from .bound import Bound
from .settings import ControllerSettings
from .signals import Signals
from .targets import Targets

HOLD_GROWTH = 16


class HardLimits:
    """Level 0 while a hard limit is reached, and for a while after.

    A zone that was over its limit and falls silent stays over it: only a reading lets go.
    An over-current is over when it is reported no more (false or unknown) and the hold has passed.
    """

    def __init__(self, settings: ControllerSettings) -> None:
        self._settings = settings
        self._hot: dict[str, str] = {}
        self._hot_left_s = 0.0
        self._current_left_s = 0.0
        self._current_hold_s = settings.over_current_hold_s
        self._quiet_s = 0.0

    def bound(self, signals: Signals, targets: Targets, step_s: float) -> Bound | None:
        """Give level 0 with the cause, or None if nothing is wrong."""
        self._watch_temperature(signals, targets, step_s)
        self._watch_current(signals, step_s)
        if self._hot:
            return Bound(0, next(iter(self._hot.values())), 'safety')
        if self._hot_left_s > 0:
            return Bound(0, f'{self._hot_left_s:.0f} s more after a hard limit', 'safety')
        if self._current_left_s > 0:
            return Bound(0, f'over-current, {self._current_left_s:.0f} s to wait', 'safety')
        return None

    def _watch_temperature(self, signals: Signals, targets: Targets, step_s: float) -> None:
        self._hot_left_s = max(self._hot_left_s - step_s, 0.0)
        for zone in [zone for zone in self._hot if targets.hard_limit_c(zone) is None]:
            del self._hot[zone]
        for zone, celsius in signals.temperatures_c.items():
            limit_c = targets.hard_limit_c(zone)
            if limit_c is None:
                continue
            release_c = limit_c - (self._settings.hard_release_c if zone in self._hot else 0.0)
            if celsius >= release_c:
                words = targets.hard_words(zone)
                self._hot[zone] = f'{zone} {celsius:.1f} C at its {limit_c:.1f} C {words}'
                self._hot_left_s = self._settings.safety_hold_s
            else:
                self._hot.pop(zone, None)

    def _watch_current(self, signals: Signals, step_s: float) -> None:
        shortest_s = self._settings.over_current_hold_s
        if not signals.over_current:
            self._current_left_s = max(self._current_left_s - step_s, 0.0)
            self._quiet_s += step_s
            return
        if self._current_left_s <= 0:  # a new event, not the same one going on
            recent = 0 < self._quiet_s < 2 * self._current_hold_s + shortest_s
            grown_s = min(2 * self._current_hold_s, HOLD_GROWTH * shortest_s)
            self._current_hold_s = grown_s if recent else shortest_s
        self._quiet_s = 0.0
        self._current_left_s = self._current_hold_s

"""Dwell: how soon after a change the next may come."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import ControllerSettings

ROUNDING_S = 1e-6
"""Times that add up to the dwell but for rounding are enough."""


@dataclass
class Dwell:
    """Keeps a level until its time is over; safety may lower it sooner, nothing may raise it.

    Changes are at least `dwell_down_s` apart and a raise waits `dwell_up_s` after any change; only
    a hard limit or a moved `min_level` or `max_level` does not wait.
    """

    settings: ControllerSettings
    level: int
    since_change_s: float

    def settle(self, wanted: int, mode: str) -> int:
        """Give the level to run now on the way to the wanted one."""
        if wanted != self.level and self.left_s(wanted, mode) <= ROUNDING_S:
            self.force(wanted)
        return self.level

    def force(self, level: int) -> None:
        """Change at once."""
        if level != self.level:
            self.level, self.since_change_s = level, 0.0

    def left_s(self, wanted: int, mode: str) -> float:
        """Give the seconds a change to the wanted level has to wait still."""
        if mode == 'tracking':
            return self.settings.tracking_dwell_s - self.since_change_s
        up = wanted > self.level
        dwell_s = self.settings.dwell_up_s if up else self.settings.dwell_down_s
        return dwell_s - self.since_change_s

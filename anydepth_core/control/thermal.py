"""The soft temperature limit: fewer levels until the temperature settles under it."""

from __future__ import annotations

from dataclasses import dataclass

from .bound import Bound
from .settings import ControllerSettings
from .signals import Signals
from .targets import Targets

SLOPE_FILTER = 5  # slow over fast time constant; their difference is the slope
STALE_FILTERS = 3
URGENT = 0.25
"""Share of the settling time that counts when it is half way to the hard limit."""


@dataclass
class Zone:
    """One zone's filtered temperature."""

    fast_c: float
    slow_c: float
    age_s: float = 0.0

    def observe(self, celsius: float | None, step_s: float, filter_s: float) -> None:
        """Take in a reading, or the lack of one."""
        if celsius is None:
            self.age_s += step_s
            return
        if self.age_s > STALE_FILTERS * filter_s:  # what it was then says nothing about the slope
            self.fast_c = self.slow_c = celsius
        self.age_s = 0.0
        self.fast_c += (celsius - self.fast_c) * step_s / (filter_s + step_s)
        slow_s = SLOPE_FILTER * filter_s
        self.slow_c += (celsius - self.slow_c) * step_s / (slow_s + step_s)

    def expected_c(self, ahead_s: float, filter_s: float) -> float:
        """Extrapolate along the slope."""
        return self.fast_c + ahead_s * (self.fast_c - self.slow_c) / (
            (SLOPE_FILTER - 1) * filter_s
        )


class SoftLimit:
    """Lowers a ceiling step by step while a zone is expected over its soft limit.

    Every step gets time to show its effect. A level that proved too hot is tried again only after
    a hold that doubles with every failure: this is what makes it settle, whatever the plant is.
    While none of the zones seen before can be read, it runs a level lower for every
    `temperature_settle_s` of silence; a first reading well below the limit gives them back.
    """

    def __init__(self, top: int, settings: ControllerSettings) -> None:
        self._settings = settings
        self._top = top
        self._ceiling = top
        self._zones: dict[str, Zone] = {}
        self._since_change_s = settings.temperature_settle_s
        self._hold_s = settings.temperature_hold_s
        self._raised_last = False
        self._blind_level: int | None = None  # of a silence that is not over

    def bound(
        self, signals: Signals, targets: Targets, step_s: float, current: int
    ) -> Bound | None:
        """Give the ceiling, or None while the soft limit asks for nothing.

        Args:
            signals: sanitised.
            targets: with the limits.
            step_s: seconds since the last decision.
            current: level that runs now.
        """
        self._since_change_s += step_s
        self._observe(signals, targets, step_s)
        if not self._zones:
            self._ceiling = self._top
            return None
        worst = self._worst(targets)
        if worst is None:
            return self._blind()
        self._see_again(worst, targets)
        self._move(worst, targets, current)
        return None if self._ceiling >= self._top else self._explain(worst, targets)

    def _blind(self) -> Bound:
        silent_s = min(zone.age_s for zone in self._zones.values())
        level = max(self._ceiling - int(silent_s / self._settings.temperature_settle_s), 0)
        self._blind_level = level
        return Bound(level, f'no temperature for {silent_s:.0f} s', 'safety')

    def _see_again(self, worst: str, targets: Targets) -> None:
        """Stay at the level of the silence if the first reading is near the limit."""
        level, self._blind_level = self._blind_level, None
        if level is None or self._over_c(worst, targets) < -self._settings.temperature_band_c:
            return
        self._ceiling, self._since_change_s, self._raised_last = level, 0.0, False

    def _observe(self, signals: Signals, targets: Targets, step_s: float) -> None:
        for name in [name for name in self._zones if targets.soft_limit_c(name) is None]:
            del self._zones[name]
        for name, celsius in signals.temperatures_c.items():
            if name not in self._zones and targets.soft_limit_c(name) is not None:
                self._zones[name] = Zone(celsius, celsius)
        for name, zone in self._zones.items():
            reading_c = signals.temperatures_c.get(name)
            zone.observe(reading_c, step_s, self._settings.temperature_filter_s)

    def _worst(self, targets: Targets) -> str | None:
        """Give the readable zone that is expected farthest over its limit."""
        settle_s = self._settings.temperature_settle_s
        readable = [name for name, zone in self._zones.items() if zone.age_s <= settle_s]
        return max(readable, key=lambda name: self._over_c(name, targets), default=None)

    def _over_c(self, name: str, targets: Targets) -> float:
        settings = self._settings
        expected_c = self._zones[name].expected_c(
            settings.temperature_lookahead_s, settings.temperature_filter_s
        )
        return expected_c - (targets.soft_limit_c(name) or 0.0)

    def _move(self, name: str, targets: Targets, current: int) -> None:
        over_c = self._over_c(name, targets)
        if over_c > 0:
            if self._since_change_s >= self._settle_s(name, targets):
                self._lower(current)
        elif (
            over_c < -self._settings.temperature_band_c
            and self._ceiling < self._top
            and self._since_change_s >= self._hold_s
        ):
            self._raise()

    def _lower(self, current: int) -> None:
        settings = self._settings
        lowered = max(min(self._ceiling, current) - 1, 0)
        if lowered == self._ceiling:
            return
        if self._raised_last:
            failed_soon = self._since_change_s < 2 * self._hold_s
            longer_s = min(2 * self._hold_s, settings.temperature_hold_max_s)
            self._hold_s = longer_s if failed_soon else settings.temperature_hold_s
        self._ceiling, self._since_change_s, self._raised_last = lowered, 0.0, False

    def _raise(self) -> None:
        self._ceiling, self._since_change_s, self._raised_last = self._ceiling + 1, 0.0, True

    def _settle_s(self, name: str, targets: Targets) -> float:
        settle_s = self._settings.temperature_settle_s
        soft_c, hard_c = targets.soft_limit_c(name), targets.hard_limit_c(name)
        if soft_c is None or hard_c is None:
            return settle_s
        urgent = self._zones[name].fast_c > (soft_c + hard_c) / 2
        return settle_s * URGENT if urgent else settle_s

    def _explain(self, worst: str, targets: Targets) -> Bound:
        celsius, limit_c = self._zones[worst].fast_c, targets.soft_limit_c(worst)
        side = 'over' if limit_c is not None and celsius > limit_c else 'near'
        words = targets.soft_words(worst)
        cause = f'{worst} {celsius:.1f} C {side} {limit_c:.1f} C {words}'
        return Bound(self._ceiling, cause, 'safety')

"""What the robot is asked to keep to; live, replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import math

MODES = ('deadline', 'tracking')
ANY_ZONE = '*'
SOFT_BELOW_HARD_C = 5.0
BY_TRIP_POINTS = ' by the trip points of the device'


@dataclass(frozen=True)
class Targets:
    """Targets; a default means there is no such target."""

    mode: str = 'deadline'
    """'deadline': every frame within the deadline; 'tracking': the mean latency at it."""
    deadline_ms: float | None = None
    """Time a frame may take, in milliseconds; in tracking mode the mean to meet."""
    rate_fps: float | None = None
    """Frames per second to reach: a deadline of 1000 / rate_fps; the shorter one holds."""
    temperature_soft_c: float | Mapping[str, float] | None = None
    """Degrees Celsius to settle under: one number, or by zone name with '*' for the others.

    A zone with a hard limit only settles under 5 degrees less.
    """
    temperature_hard_c: float | Mapping[str, float] | None = None
    """Degrees Celsius never to stay over: level 0 at once; given as the soft limit is."""
    power_budget_w: float | None = None
    """Mean power of the device to keep under, in watts."""
    battery_reserve: float | None = None
    """State of charge to keep, 0..1: at the mission's end, or from now on if it has no end."""
    mission_end_s: float | None = None
    """When the mission ends, on the clock of `Signals.time_s`; the reserve is 0 if not given."""
    battery_wh: float | None = None
    """Energy of the full battery, in watt hours; None: learned from power and charge."""
    min_level: int = 0
    """Level never to go below, but at a hard limit or over-current (full while docking)."""
    max_level: int | None = None
    """Level never to go above; it wins over `min_level`. None: the ladder's top."""
    trip_soft: tuple[str, ...] = ()
    """Zones whose soft limit comes from the device's own trip points: reasons say so."""
    trip_hard: tuple[str, ...] = ()
    """Zones whose hard limit does."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f'mode must be one of {", ".join(MODES)}, not {self.mode!r}')
        for name in ('deadline_ms', 'rate_fps', 'power_budget_w', 'battery_wh'):
            _check_positive(name, getattr(self, name))
        _check_finite('mission_end_s', self.mission_end_s)
        reserve = self.battery_reserve
        if reserve is not None and not 0 <= reserve <= 1:
            raise ValueError(f'battery_reserve must be between 0 and 1, not {reserve}')
        if self.min_level < 0 or (self.max_level is not None and self.max_level < 0):
            raise ValueError(
                f'min_level {self.min_level} and max_level {self.max_level} must not be negative'
            )
        self._check_temperatures()

    def _check_temperatures(self) -> None:
        for name, limits in (
            ('temperature_soft_c', self.temperature_soft_c),
            ('temperature_hard_c', self.temperature_hard_c),
        ):
            for zone, value in _zones(limits):
                _check_finite(f'{name} of zone {zone}', value)
        named = [*_zones(self.temperature_soft_c), *_zones(self.temperature_hard_c)]
        for zone in sorted({zone for zone, _ in named}):
            soft, hard = self.soft_limit_c(zone), self.hard_limit_c(zone)
            if soft is not None and hard is not None and soft >= hard:
                raise ValueError(
                    f'the soft limit of zone {zone}, {soft} C, must be below the hard {hard} C'
                )

    def deadline(self) -> float | None:
        """Give the time a frame may take in milliseconds, or None."""
        period_ms = None if self.rate_fps is None else 1000 / self.rate_fps
        known = [value for value in (self.deadline_ms, period_ms) if value is not None]
        return min(known, default=None)

    def soft_limit_c(self, zone: str) -> float | None:
        """Give the soft limit of a zone in degrees Celsius, or None."""
        soft, hard = _limit(self.temperature_soft_c, zone), self.hard_limit_c(zone)
        return hard - SOFT_BELOW_HARD_C if soft is None and hard is not None else soft

    def hard_limit_c(self, zone: str) -> float | None:
        """Give the hard limit of a zone in degrees Celsius, or None."""
        return _limit(self.temperature_hard_c, zone)

    def soft_words(self, zone: str) -> str:
        """Name the soft limit of a zone, for reasons."""
        return f'soft limit{BY_TRIP_POINTS if zone in self.trip_soft else ""}'

    def hard_words(self, zone: str) -> str:
        """Name the hard limit of a zone, for reasons."""
        return f'hard limit{BY_TRIP_POINTS if zone in self.trip_hard else ""}'


def _limit(limits: float | Mapping[str, float] | None, zone: str) -> float | None:
    if isinstance(limits, Mapping):
        return limits.get(zone, limits.get(ANY_ZONE))
    return limits


def _zones(limits: float | Mapping[str, float] | None) -> Iterator[tuple[str, float]]:
    if isinstance(limits, Mapping):
        yield from limits.items()
    elif limits is not None:
        yield ANY_ZONE, limits


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError(f'{name} must be a positive number, not {value}')


def _check_finite(name: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f'{name} must be a finite number, not {value}')

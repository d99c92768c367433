"""What a policy is told and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import math
from numbers import Integral
from typing import Protocol

# What a sensor can mean; a value outside is a fault of the sensor, not a measurement.
LATENCY_RANGE_MS = (1e-3, 600e3)
RATE_RANGE_HZ = (1e-3, 10e3)
TEMPERATURE_RANGE_C = (-60.0, 200.0)
POWER_RANGE_W = (0.0, 10e3)
BATTERY_RANGE = (0.0, 1.0)


@dataclass(frozen=True)
class Signals:
    """What is known at one moment; None, NaN, infinite or impossible values mean unknown."""

    time_s: float
    """Seconds of any monotonic clock; it may jump."""
    latency_ms: float | None = None
    """End-to-end time of the newest frame, in milliseconds; None if no new frame came."""
    latency_level: int | None = None
    """Level that frame ran at."""
    rate_hz: float | None = None
    """Images that arrive per second."""
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    """Degrees Celsius by the name of the zone."""
    power_w: float | None = None
    """Power the whole device draws, in watts."""
    battery: float | None = None
    """State of charge, 0..1."""
    charging: bool | None = None
    """Whether the battery is being charged."""
    over_current: bool | None = None
    """Whether the supply reports over-current now."""


@dataclass(frozen=True)
class Decision:
    """The level to run from the next frame on, and why."""

    level: int
    """Index into the ladder, 0 is the cheapest."""
    reason: str
    """One line of words, for people: 'level 1 of 4: gpu 83.0 C over 80.0 C soft limit'."""
    authority: str
    """Who decided: 'safety', 'floor', 'ceiling', 'deadline', 'energy' or 'accuracy'."""


class Policy(Protocol):
    """Anything that picks a level from what is measured."""

    def decide(self, signals: Signals) -> Decision:
        """Pick the level of the next frame."""
        ...


def within(value: float | None, limits: tuple[float, float]) -> float | None:
    """Pass a measurement on, or None if it cannot be one.

    Args:
        value: what was measured; None, NaN and values of another type are unknown.
        limits: smallest and largest possible value, in the unit of the value.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if limits[0] <= number <= limits[1] else None


def sanitised(signals: Signals, levels: int) -> Signals:
    """Replace what cannot be true by unknown.

    A latency whose level is not on the ladder is dropped: it says nothing about a known level.

    Args:
        signals: as measured.
        levels: length of the ladder.

    Returns:
        Signals with possible values only; the time is NaN if it is no finite number.
    """
    time_s = within(signals.time_s, (-1e18, 1e18))
    latency_ms = within(signals.latency_ms, LATENCY_RANGE_MS)
    level = signals.latency_level
    on_ladder = isinstance(level, Integral) and 0 <= level < levels
    return Signals(
        time_s=math.nan if time_s is None else time_s,
        latency_ms=latency_ms if on_ladder else None,
        latency_level=level if on_ladder and latency_ms is not None else None,
        rate_hz=within(signals.rate_hz, RATE_RANGE_HZ),
        temperatures_c=_possible_temperatures(signals.temperatures_c),
        power_w=within(signals.power_w, POWER_RANGE_W),
        battery=within(signals.battery, BATTERY_RANGE),
        charging=_truth(signals.charging),
        over_current=_truth(signals.over_current),
    )


def _possible_temperatures(temperatures_c: Mapping[str, float] | None) -> dict[str, float]:
    possible = {}
    for zone, measured in (temperatures_c or {}).items():
        value = within(measured, TEMPERATURE_RANGE_C)
        if value is not None:
            possible[zone] = value
    return possible


def _truth(value: bool | None) -> bool | None:
    return value if isinstance(value, bool) else None

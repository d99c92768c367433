"""Temperature limits zone by zone: given by hand, or taken from the device's own trip points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
import math

from anydepth_core.control.targets import ANY_ZONE, SOFT_BELOW_HARD_C, Targets
from anydepth_core.sensing.thermal import TripPoints

HIGHEST_C = 150.0

#: Under the throttling trip: once the device slows itself, every level is late, and the soft
#: limit lets the temperature swing over it by a few degrees while it settles.
THROTTLE_MARGIN_C = 5.0

#: Under the trip at which the device switches off. The cheapest level still warms it, and sensors
#: of one chip differ by some degrees.
SHUTDOWN_MARGIN_C = 10.0


@dataclass(frozen=True)
class ZoneLimit:
    """Limits of one zone in degrees Celsius; None for none."""

    soft_c: float | None = None
    hard_c: float | None = None


def parse_zone_limits(texts: Iterable[str]) -> dict[str, ZoneLimit]:
    """Read limits such as ``gpu-thermal:80:95``: zone, soft, hard; one of the two may be empty.

    Raises:
        ValueError: in one sentence, with the text that is not legal.
    """
    limits: dict[str, ZoneLimit] = {}
    for text in texts:
        parts = text.rsplit(':', 2) if isinstance(text, str) else ['']
        zone, *numbers = (part.strip() for part in parts)
        if len(numbers) < 2 or not zone or zone == ANY_ZONE or not any(numbers):
            raise ValueError(
                f'zone_limits {text!r} is not legal: write zone:soft:hard in degrees Celsius, as '
                'in gpu-thermal:80:95; soft or hard may be left empty'
            )
        if zone in limits:
            raise ValueError(f'zone_limits names {zone!r} twice: give each zone once')
        soft_c, hard_c = (_celsius(text, number) for number in numbers)
        if soft_c is not None and hard_c is not None and soft_c >= hard_c:
            raise ValueError(f'zone_limits {text!r} is not legal: soft must be below hard')
        limits[zone] = ZoneLimit(soft_c, hard_c)
    return limits


def limit_of_trips(points: TripPoints) -> ZoneLimit:
    """Give the limits that keep a zone from reaching its trip points.

    Returns:
        Hard 10 C under switching off. Soft 5 C under throttling, but never less than 5 C under
        hard, the distance that a hard limit alone implies.
    """
    throttle_c, shutdown_c = points.throttle_c, points.shutdown_c
    hard_c = None if shutdown_c is None else shutdown_c - SHUTDOWN_MARGIN_C
    softs = [
        *([] if throttle_c is None else [throttle_c - THROTTLE_MARGIN_C]),
        *([] if hard_c is None else [hard_c - SOFT_BELOW_HARD_C]),
    ]
    return ZoneLimit(min(softs, default=None), hard_c)


def with_zone_limits(
    targets: Targets, own: Mapping[str, ZoneLimit], trips: Mapping[str, TripPoints]
) -> Targets:
    """Add limits of single zones to targets that have at most one for all zones.

    What is given by hand goes first: the zone's own limit, then the one for all zones. A trip
    point fills only a gap, and is left out where it would contradict what was given.

    Args:
        targets: its temperature limits are numbers or None.
        own: limits given by zone.
        trips: trip points by zone.

    Raises:
        ValueError: if the limits contradict each other.
    """
    soft = _given(targets.temperature_soft_c, {z: one.soft_c for z, one in own.items()})
    hard = _given(targets.temperature_hard_c, {z: one.hard_c for z, one in own.items()})
    gaps = {
        zone: _gaps(
            ZoneLimit(soft.get(zone, soft.get(ANY_ZONE)), hard.get(zone, hard.get(ANY_ZONE))),
            limit_of_trips(points),
        )
        for zone, points in trips.items()
    }
    trip_soft = {zone: one.soft_c for zone, one in gaps.items() if one.soft_c is not None}
    trip_hard = {zone: one.hard_c for zone, one in gaps.items() if one.hard_c is not None}
    return replace(
        targets,
        temperature_soft_c={**soft, **trip_soft} or None,
        temperature_hard_c={**hard, **trip_hard} or None,
        trip_soft=tuple(sorted(trip_soft)),
        trip_hard=tuple(sorted(trip_hard)),
    )


def _gaps(given: ZoneLimit, trip: ZoneLimit) -> ZoneLimit:
    """Return those limits of the trip points that are not given and fit to what is."""
    hard_c = trip.hard_c if given.hard_c is None else None
    if hard_c is not None and given.soft_c is not None and given.soft_c >= hard_c:
        hard_c = None
    highest_c = hard_c if given.hard_c is None else given.hard_c
    soft_c = trip.soft_c if given.soft_c is None else None
    if soft_c is not None and highest_c is not None and soft_c >= highest_c:
        soft_c = None
    return ZoneLimit(soft_c, hard_c)


def _given(
    of_all_c: float | Mapping[str, float] | None, by_zone: Mapping[str, float | None]
) -> dict[str, float]:
    named = {zone: celsius for zone, celsius in by_zone.items() if celsius is not None}
    return {ANY_ZONE: of_all_c, **named} if isinstance(of_all_c, (int, float)) else named


def _celsius(text: str, number: str) -> float | None:
    if not number:
        return None
    try:
        celsius = float(number)
    except ValueError:
        celsius = math.nan
    if not 0 < celsius <= HIGHEST_C:
        raise ValueError(
            f'zone_limits {text!r} is not legal: {number!r} must be a number above 0 and at most '
            f'{HIGHEST_C:g}'
        )
    return celsius

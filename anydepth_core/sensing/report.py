"""A sample in words, for people: what a sensor does not tell is 'n/a', never 0."""

from __future__ import annotations

from anydepth_core.sensing.sample import Sample
from anydepth_core.sensing.thermal import TripPoints

UNKNOWN = 'n/a'


def described(sample: Sample) -> dict[str, str]:
    """Return name and text of everything a device says about itself."""
    zones = sorted({*sample.temperatures_c, *sample.trip_points})
    return {
        **{f'Temperature {z} (C)': _number(sample.temperatures_c.get(z)) for z in zones},
        **{f'Trip points {z}': _trips(one) for z, one in sorted(sample.trip_points.items())},
        **{f'Rail {name} (W)': _number(w, 2) for name, w in sorted(sample.rails_w.items())},
        'Power (W)': _number(sample.power_w, 2),
        'Battery (%)': _percent(sample.battery),
        'Charging': _truth(sample.charging),
        'Over-current': _truth(sample.over_current),
        'GPU load (%)': _percent(sample.gpu_load),
        'CPU load (%)': _percent(sample.cpu_load),
        'CPU cap (%)': _percent(sample.cpu_cap),
        'Throttled': _truth(sample.throttled),
    }


def _trips(points: TripPoints) -> str:
    words = [
        *([] if points.throttle_c is None else [f'throttles at {points.throttle_c:.1f} C']),
        *([] if points.shutdown_c is None else [f'gives up at {points.shutdown_c:.1f} C']),
    ]
    return ', '.join(words)


def _number(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f'{value:.{digits}f}'


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f'{100 * share:.1f}'


def _truth(value: bool | None) -> str:
    return {True: 'yes', False: 'no', None: UNKNOWN}[value]

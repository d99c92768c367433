"""Figures of a closed loop, causal: each frame is judged by what was known when it ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anydepth_core.control.plant import ZONE
from anydepth_core.control.profile import Profile
from anydepth_core.control.scenarios import Scenario, Trace

# The published law's own average, so that neither side chooses the yardstick.
AVERAGE_MEMORY = 0.85


@dataclass(frozen=True)
class Figures:
    """How a policy did; None where the scenario has no such target.

    Attributes:
        miss_rate: share of frames over the latency budget in force.
        tracking_error_ms: mean distance of the causal moving average of the latency from the
            budget in force, in ms, over the frames in tracking mode.
        mean_latency_ms: over frames.
        mean_energy_j: above idle, over frames.
        mean_ap: by the profile, over frames; None if a level that ran has none.
        seconds_over_soft: time above the soft temperature limit.
        seconds_over_hard: time above the hard temperature limit.
        max_temperature_c: highest temperature.
        changes_per_minute: level changes.
        late_changes_per_minute: level changes in the last third.
        final_charge: state of charge at the end, 0..1.
        seconds: length of the run; shorter than the scenario if the battery went empty.
    """

    miss_rate: float | None
    tracking_error_ms: float | None
    mean_latency_ms: float
    mean_energy_j: float
    mean_ap: float | None
    seconds_over_soft: float | None
    seconds_over_hard: float | None
    max_temperature_c: float
    changes_per_minute: float
    late_changes_per_minute: float
    final_charge: float
    seconds: float


def figures(trace: Trace) -> Figures:
    """Return the figures of a trace with at least one frame."""
    latency, budget = trace.column('latency_ms'), trace.budget_ms()
    start, duration = trace.column('start_s'), trace.column('duration_s')
    end = float(start[-1] + duration[-1])
    return Figures(
        miss_rate=_mean_where_set(latency > budget, budget),
        tracking_error_ms=_tracking_error_ms(trace),
        mean_latency_ms=float(latency.mean()),
        mean_energy_j=float(trace.column('energy_j').mean()),
        mean_ap=_mean_ap(trace),
        seconds_over_soft=_seconds_over(trace, 'soft_limit_c'),
        seconds_over_hard=_seconds_over(trace, 'hard_limit_c'),
        max_temperature_c=float(trace.column('temperature_c').max()),
        changes_per_minute=_changes_per_minute(trace, 0.0, end),
        late_changes_per_minute=_changes_per_minute(trace, end * 2.0 / 3.0, end),
        final_charge=trace.frames[-1].charge,
        seconds=end,
    )


def causal_average(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the moving average over a frame and those before it.

    Args:
        values: (frames,) one value per frame.
        first: (frames,) its first entry, where known, is the average before the first frame.

    Returns:
        (frames,) averages.
    """
    average = float(first[0]) if np.isfinite(first[0]) else float(values[0])
    averages = np.empty(len(values))
    for index, value in enumerate(values.tolist()):
        average = AVERAGE_MEMORY * average + (1.0 - AVERAGE_MEMORY) * value
        averages[index] = average
    return averages


def best_mean_ap(profile: Profile, energy_j: float) -> float:
    """Return the highest mean AP of any mix of levels within a mean energy per frame.

    Args:
        profile: with energy and AP of every level.
        energy_j: mean energy above idle that a frame may take.

    Returns:
        The AP of the best mix; a mix of two levels always reaches it.

    Raises:
        ValueError: if a level has no energy or AP, or if no level is cheap enough.
    """
    points = [(level.energy_j, level.ap) for level in profile.levels]
    known = [(energy, ap) for energy, ap in points if energy is not None and ap is not None]
    if len(known) < len(points):
        raise ValueError('every level needs an energy and an AP')
    within = [(energy, ap) for energy, ap in known if energy <= energy_j]
    above = [(energy, ap) for energy, ap in known if energy > energy_j]
    if not within:
        raise ValueError(f'no level takes {energy_j:.3f} J per frame or less')
    mixes = [
        ap + (better - ap) * (energy_j - energy) / (dearer - energy)
        for energy, ap in within
        for dearer, better in above
    ]
    return max([ap for _, ap in within] + mixes)


def battery_optimum(scenario: Scenario) -> float:
    """Return the best mean AP that ends the scenario at its reserve, known only in hindsight.

    It assumes that the device keeps up with the images and does not throttle.

    Raises:
        ValueError: if the scenario has no reserve, or if even the cheapest level goes below it.
    """
    reserve, device = scenario.schedule[-1][1].battery_reserve, scenario.device
    if reserve is None:
        raise ValueError(f'scenario {scenario.name!r} has no battery reserve')
    power_w = device.battery.sustainable_w(reserve, scenario.seconds)
    return best_mean_ap(device.profile, (power_w - device.idle_w) / device.rate_hz)


def _mean_where_set(values: np.ndarray, budget: np.ndarray) -> float | None:
    is_set = np.isfinite(budget)
    return float(values[is_set].mean()) if is_set.any() else None


def _tracking_error_ms(trace: Trace) -> float | None:
    latency, budget = trace.column('latency_ms'), trace.budget_ms()
    distance = np.abs(causal_average(latency, budget) - budget)
    is_tracking = np.array([targets.mode == 'tracking' for targets in trace.targets])
    return _mean_where_set(distance, np.where(is_tracking, budget, np.nan))


def _mean_ap(trace: Trace) -> float | None:
    by_level = [level.ap for level in trace.scenario.device.profile.levels]
    values = [by_level[frame.level] for frame in trace.frames]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _seconds_over(trace: Trace, limit: str) -> float | None:
    seconds, was_set = 0.0, False
    for frame, targets in zip(trace.frames, trace.targets):
        value = getattr(targets, limit)(ZONE)
        if value is not None:
            was_set = True
            seconds += frame.duration_s * (frame.temperature_c > value)
    return seconds if was_set else None


def _changes_per_minute(trace: Trace, start_s: float, end_s: float) -> float:
    levels = [frame.level for frame in trace.frames if frame.start_s >= start_s]
    changes = sum(before != after for before, after in zip(levels, levels[1:]))
    return 60.0 * changes / (end_s - start_s)

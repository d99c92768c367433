"""A profile to begin with where nothing was measured on the device."""

from __future__ import annotations

from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle

DEAREST_MS = 100.0  # only ratios matter: the law learns the scale from the first frames
TAIL = 1.2  # 95th percentile over median of a machine that does little else
REFINEMENT_SHARE = 0.4  # of the cost of full depth, where nothing is counted (arXiv 2605.09407)


def assumed_profile(bundle: Bundle) -> Profile:
    """Make a profile from the multiply-adds and AP that a bundle states for its ladder.

    Args:
        bundle: the bundle that is served.

    Returns:
        One level for each of the ladder; latencies are in proportion to the counted work.
    """
    points = bundle.ladder.points
    costs = [_cost(point) for point in points]
    levels = []
    for point, cost in zip(points, costs):
        latency_ms = DEAREST_MS * cost / max(costs)
        levels.append(
            LevelProfile(
                depth=bundle.space.format(point.depth),
                latency_ms=latency_ms,
                latency_p95_ms=TAIL * latency_ms,
                ap=dict(point.metrics).get('AP'),
            )
        )
    return Profile(tuple(levels), 'assumed from the counted work, not measured')


def _cost(point: OperatingPoint) -> float:
    counted = dict(point.metrics).get('multiply_adds')
    if counted:
        return float(counted)
    share = sum(point.depth.stages) / len(point.depth.stages)
    height, width = point.image_size
    return height * width * (1 - REFINEMENT_SHARE * (1 - share))

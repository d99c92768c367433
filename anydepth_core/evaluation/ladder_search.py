"""Choose a ladder: from measured operating points to the few levels that a robot uses.

A point that another beats, cheaper and at least as accurate, is of no use: what remains is the
Pareto front, along which AP rises with cost. From it ``choose_levels`` takes the cheapest, the
most accurate, and levels between them that

* are well spread: the ratios of cost between neighbours are as equal as the front allows, because
  a budget is missed by at most such a ratio;
* lie on or near the upper concave hull of the front: the controller mixes two neighbours to meet
  a budget between them, and a level under the line between its neighbours is worse than that mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint


@dataclass(frozen=True)
class Measured:
    """An operating point with what was measured.

    Attributes:
        point: depth and input size.
        cost: what the ladder is ordered by, above 0: multiply-adds or milliseconds.
        ap: average precision, 0 to 1.
    """

    point: OperatingPoint
    cost: float
    ap: float


def pareto_front(points: Sequence[Measured]) -> list[Measured]:
    """Return the points that no other beats, cheapest first; cost and AP both rise strictly.

    Points whose AP is unknown (NaN) are left out.
    """
    front: list[Measured] = []
    for candidate in sorted(points, key=lambda p: (p.cost, -p.ap)):
        if not math.isnan(candidate.ap) and (not front or candidate.ap > front[-1].ap):
            front.append(candidate)
    return front


def below_hull(front: Sequence[Measured]) -> list[float]:
    """Return by how much AP each point lies below the upper concave hull of the front.

    Args:
        front: as :func:`pareto_front` returns it.
    """
    hull: list[Measured] = []
    for point in front:
        while len(hull) >= 2 and _line(hull[-2], point, hull[-1].cost) >= hull[-1].ap:
            hull.pop()
        hull.append(point)
    missing = []
    for point in front:
        right = next(index for index, corner in enumerate(hull) if corner.cost >= point.cost)
        reach = _line(hull[max(right - 1, 0)], hull[right], point.cost)
        missing.append(max(0.0, reach - point.ap))
    return missing


def choose_levels(front: Sequence[Measured], levels: int) -> list[Measured]:
    """Choose the levels of a ladder, cheapest first.

    Of all choices with both ends it is the one with the least sum of two penalties: the squares
    of the gaps between neighbours, in the logarithm of cost, and how far each level lies below
    the concave hull. Both count as shares of the whole range of the front.

    Args:
        front: as :func:`pareto_front` returns it.
        levels: how many; all of a front that has fewer.

    Raises:
        ValueError: if the front is empty or fewer than 2 levels are wanted.
    """
    if not front or levels < 2:
        raise ValueError(
            f'{levels} levels of {len(front)} points cannot be chosen: '
            'give at least one point and 2 levels'
        )
    if len(front) <= levels:
        return list(front)
    range_ap = front[-1].ap - front[0].ap
    range_cost = math.log(front[-1].cost / front[0].cost)
    hull_penalty = [missing / range_ap for missing in below_hull(front)]
    places = [math.log(point.cost / front[0].cost) / range_cost for point in front]
    # best[last]: penalty and indices of the best choice so far that ends with that point
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, (0,))}
    for _ in range(levels - 1):
        best = {
            last: min(
                (
                    penalty + (places[last] - places[before]) ** 2 + hull_penalty[last],
                    (*chosen, last),
                )
                for before, (penalty, chosen) in best.items()
                if before < last
            )
            for last in range(min(best) + 1, len(front))
        }
    return [front[index] for index in best[len(front) - 1][1]]


def one_refinement_less(space: DepthSpace) -> list[DepthConfig]:
    """Return full depth without the refinement of each stage in turn, in the order of stages."""
    count = len(space.stages)
    return [
        DepthConfig(tuple(other != stage for other in range(count)), space.full.decoder_layers)
        for stage in range(count)
    ]


def nested_depths(
    space: DepthSpace, full: tuple[float, float], without: Sequence[tuple[float, float]]
) -> list[DepthConfig]:
    """Return a chain of depths from full to base, each with one refinement less than the last.

    First to go are the refinements that lose the least AP for the cost they save. There is one
    depth per stage, not one per combination, so that the search stays affordable.

    Args:
        space: depths of the detector.
        full: cost and AP of full depth.
        without: cost and AP of each depth of :func:`one_refinement_less`.
    """

    def loss_per_cost(stage: int) -> float:
        cost, ap = without[stage]
        saved = full[0] - cost
        return (full[1] - ap) / saved if saved > 0 else math.inf

    order = sorted(range(len(space.stages)), key=loss_per_cost)
    depths = [space.full]
    for stage in order:
        flags = list(depths[-1].stages)
        flags[stage] = False
        depths.append(DepthConfig(tuple(flags), space.full.decoder_layers))
    return list(dict.fromkeys((*depths, space.base)))


def _line(left: Measured, right: Measured, cost: float) -> float:
    """AP at a cost on the line through two points."""
    if right.cost == left.cost:
        return right.ap
    share = (cost - left.cost) / (right.cost - left.cost)
    return left.ap + share * (right.ap - left.ap)

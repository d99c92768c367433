"""The choice of a ladder: nothing that is beaten, both ends, spread, near the concave hull."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.depth import DepthSpace, OperatingPoint
from anydepth_core.evaluation.ladder_search import (
    below_hull,
    choose_levels,
    Measured,
    nested_depths,
    one_refinement_less,
    pareto_front,
)

SPACE = DepthSpace(('a', 'b', 'c'), 2)
DECODER = DepthSpace(('a', 'b', 'c'), 2, decoder_layers=6)


def measured(cost: float, ap: float) -> Measured:
    return Measured(OperatingPoint(SPACE.full, (32, 32)), cost, ap)


POINTS = st.lists(
    st.builds(
        measured,
        st.integers(1, 1000).map(float),
        st.one_of(st.integers(0, 100).map(lambda p: p / 100), st.just(math.nan)),
    ),
    max_size=30,
)


@given(POINTS)
def test_every_point_is_on_the_front_or_beaten_by_one_that_is(points: list[Measured]) -> None:
    front = pareto_front(points)
    assert all(a.cost < b.cost and a.ap < b.ap for a, b in itertools.pairwise(front)), (
        'cost and AP rise'
    )
    for point in points:
        assert (
            point in front
            or math.isnan(point.ap)
            or any(f.cost <= point.cost and f.ap >= point.ap for f in front)
        )


@given(POINTS, st.integers(2, 7))
def test_a_ladder_has_both_ends_and_rises(points: list[Measured], levels: int) -> None:
    front = pareto_front(points)
    if not front:
        return
    ladder = choose_levels(front, levels)
    assert len(ladder) == min(levels, len(front))
    assert (ladder[0], ladder[-1]) == (front[0], front[-1])
    assert all(a.cost < b.cost and a.ap < b.ap for a, b in itertools.pairwise(ladder))


@given(POINTS, st.integers(2, 5))
def test_no_other_choice_is_better(points: list[Measured], levels: int) -> None:
    front = pareto_front(points)[:9]
    if len(front) <= levels:
        return
    missing = dict(zip(map(id, front), below_hull(front)))

    def penalty(choice: tuple[Measured, ...]) -> float:
        whole = math.log(front[-1].cost / front[0].cost)
        gaps = [math.log(b.cost / a.cost) / whole for a, b in itertools.pairwise(choice)]
        height = front[-1].ap - front[0].ap
        return sum(gap**2 for gap in gaps) + sum(missing[id(p)] / height for p in choice)

    best = min(
        penalty((front[0], *inner, front[-1]))
        for inner in itertools.combinations(front[1:-1], levels - 2)
    )
    assert penalty(tuple(choose_levels(front, levels))) == pytest.approx(best)


@given(POINTS)
def test_the_hull_is_concave_and_nothing_is_above_it(points: list[Measured]) -> None:
    front = pareto_front(points)
    missing = below_hull(front)
    assert all(gap >= 0 for gap in missing)
    hull = [(p.cost, p.ap + gap) for p, gap in zip(front, missing)]
    slopes = [(d - b) / (c - a) for (a, b), (c, d) in itertools.pairwise(hull)]
    assert all(left >= right - 1e-9 for left, right in itertools.pairwise(slopes))


def test_equal_steps_are_preferred_and_a_dent_is_avoided():
    even = [measured(2.0**step, 1 - 2.0**-step) for step in range(9)]
    assert [p.cost for p in choose_levels(even, 3)] == [1, 16, 256]
    dent = [measured(1, 0.1), measured(2, 0.11), measured(2.2, 0.5), measured(4, 0.6)]
    assert choose_levels(dent, 3)[1].cost == 2.2


@pytest.mark.parametrize(('count', 'levels'), [(0, 5), (3, 1)])
def test_what_cannot_be_chosen_is_refused(count: int, levels: int) -> None:
    with pytest.raises(ValueError, match='cannot be chosen'):
        choose_levels([measured(n + 1, n / 10) for n in range(count)], levels)


def test_the_chain_leaves_out_first_what_loses_least_for_its_cost():
    # b is free, c loses 0.1 for 40, a loses 0.1 for 20
    chain = nested_depths(SPACE, (100, 0.6), [(80, 0.5), (90, 0.6), (60, 0.5)])
    assert [SPACE.format(depth) for depth in chain] == ['11-1', '10-1', '10-0', '00-0']


def test_a_refinement_that_saves_nothing_goes_last():
    chain = nested_depths(SPACE, (100, 0.6), [(100, 0.6), (90, 0.1), (60, 0.5)])
    assert [SPACE.format(depth) for depth in chain] == ['11-1', '11-0', '10-0', '00-0']


def test_the_chain_of_a_detector_with_a_decoder_ends_at_base():
    assert [DECODER.format(d) for d in one_refinement_less(DECODER)] == [
        '01-1d6',
        '10-1d6',
        '11-0d6',
    ]
    chain = nested_depths(DECODER, (10, 0.6), [(9, 0.5)] * 3)
    assert DECODER.format(chain[-2]) == '00-0d6'
    assert chain[-1] == DECODER.base

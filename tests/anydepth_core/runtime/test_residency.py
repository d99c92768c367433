"""What stays ready: always what is wanted, then the cheapest, then neighbours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.depth import DepthSpace, OperatingPoint
from anydepth_core.runtime.residency import resident

SPACE = DepthSpace(tuple('abcdef'), 4)
LADDER = [
    OperatingPoint(SPACE.parse('1' * level + '0' * (6 - level)), (96, 96), (('AP', level / 10),))
    for level in range(7)
]
OTHER = OperatingPoint(SPACE.parse('0111-11'), (96, 96))


def levels(wanted: list[OperatingPoint], capacity: int) -> list[int | None]:
    chosen = resident(LADDER, wanted, capacity)
    return [LADDER.index(point) if point in LADDER else None for point in chosen]


@pytest.mark.parametrize(
    ('capacity', 'expected'),
    [(1, [4]), (2, [4, 0]), (3, [4, 0, 3]), (4, [4, 0, 3, 5]), (6, [4, 0, 3, 5, 1, 2])],
)
def test_the_wanted_then_the_cheapest_then_neighbours_then_others(
    capacity: int, expected: list[int]
) -> None:
    assert levels([LADDER[4]], capacity) == expected


def test_a_point_beside_the_ladder_has_the_neighbours_of_the_most_alike() -> None:
    assert levels([OTHER], 4) == [None, 0, 5, 6]  # one stage is missing to the top


def test_each_camera_has_its_neighbours() -> None:
    assert levels([LADDER[6], LADDER[2]], 6) == [6, 2, 0, 5, 1, 3]


def test_figures_do_not_make_a_point_another_one() -> None:
    same = OperatingPoint(LADDER[2].depth, (96, 96))
    assert resident(LADDER, [same], 7).count(LADDER[2]) == 0
    assert len(resident(LADDER, [same], 100)) == 7


def test_without_a_ladder_the_wanted_stay() -> None:
    assert resident([], [OTHER], 3) == [OTHER]


@given(
    wanted=st.lists(st.sampled_from([*LADDER, OTHER]), max_size=4),
    capacity=st.integers(1, 9),
    rungs=st.lists(st.sampled_from(LADDER), unique=True).map(
        lambda points: sorted(points, key=LADDER.index)
    ),
)
def test_the_room_is_used_and_never_exceeded(
    wanted: list[OperatingPoint], capacity: int, rungs: list[OperatingPoint]
) -> None:
    chosen = resident(rungs, wanted, capacity)
    first = list(dict.fromkeys(wanted))
    assert len(chosen) == len(set(chosen)) == min(capacity, len({*rungs, *wanted}))
    assert chosen[: len(first)] == first[:capacity]
    if rungs and len(first) < capacity:
        assert rungs[0] in chosen


def test_others_take_only_the_room_that_the_ladder_leaves() -> None:
    rungs = len(LADDER)
    for point in LADDER:
        assert set(resident(LADDER, [point], rungs, [OTHER])) == set(LADDER)
        assert resident(LADDER, [point], rungs + 1, [OTHER])[-1] == OTHER

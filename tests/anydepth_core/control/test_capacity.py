"""The capacity is learned from the edges of the gauge, and never from a fault."""

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.control.capacity import Capacity, Fall, FallingGauge


def falls(gauges: list[float], used_j: float = 10.0) -> list[Fall]:
    gauge = FallingGauge()
    found = [gauge.observe(one, used_j, 1.0) for one in gauges]
    return [one for one in found if one is not None]


def test_a_fall_counts_from_the_first_edge() -> None:
    found = falls([0.80, 0.80, 0.79, 0.79, 0.79, 0.78, 0.77])
    assert [(round(one.share, 3), one.used_j, one.seconds) for one in found] == [
        (0.01, 30.0, 3.0),
        (0.02, 40.0, 4.0),
    ]


def test_a_gauge_that_rises_by_a_step_has_not_fallen_again_when_it_comes_back() -> None:
    assert len(falls([0.80, 0.79, 0.78, 0.79, 0.78, 0.78])) == 1


@pytest.mark.parametrize('odd', [0.2, 0.99])
def test_a_jump_begins_anew(odd: float) -> None:
    assert falls([0.80, 0.79, odd, odd]) == []


@given(st.lists(st.floats(0, 1), max_size=50), st.floats(0, 1e6))
def test_whatever_the_gauge_reads_a_capacity_is_above_zero(
    gauges: list[float], used_j: float
) -> None:
    capacity = Capacity()
    for fall in falls(gauges, used_j):
        capacity.learn(fall)
    for told in (None, 20.0):
        known = capacity.wh(told)
        assert known is None or (math.isfinite(known) and known > 0)


def test_a_given_capacity_is_believed_at_first_and_the_gauge_in_the_end() -> None:
    capacity = Capacity()
    assert capacity.wh(20.0) == 20.0
    assert capacity.wh(None) is None
    capacity.learn(Fall(0.02, 0.02 * 3600 * 16.0, 100.0))
    early = capacity.wh(20.0)
    capacity.learn(Fall(0.5, 0.5 * 3600 * 16.0, 2500.0))
    late = capacity.wh(20.0)
    assert early is not None and late is not None
    assert 19.5 < early < 20.0
    assert late == pytest.approx(16.0, abs=0.2)
    assert capacity.wh(None) == pytest.approx(16.0)


def test_a_capacity_far_from_the_given_one_is_not_believed() -> None:
    capacity = Capacity()
    capacity.learn(Fall(0.5, 0.5 * 3600 * 1.0, 2500.0))
    known = capacity.wh(20.0)
    assert known is not None and known > 9.9

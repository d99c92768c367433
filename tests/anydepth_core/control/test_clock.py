from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.control.clock import ElapsedClock

READINGS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30)


def test_elapsed_time_adds_up():
    clock = ElapsedClock(5.0)
    assert [clock.advance(time_s) for time_s in (10.0, 10.5, 12.0)] == [0.0, 0.5, 1.5]
    assert clock.elapsed_s == pytest.approx(2.0)


def test_a_jump_back_counts_nothing_and_time_goes_on_from_there():
    clock = ElapsedClock(5.0)
    assert [clock.advance(time_s) for time_s in (100.0, 3.0, 4.0)] == [0.0, 0.0, 1.0]


@given(READINGS)
def test_no_step_is_negative_or_over_the_longest(readings):
    clock = ElapsedClock(5.0)
    assert all(0.0 <= clock.advance(reading) <= 5.0 for reading in readings)

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.control.pi import Pi


def test_the_integral_removes_a_constant_error():
    loop, value = Pi(0.2, 0.1), 0.0
    for _ in range(200):
        value = loop.step(5.0 - (value + 1.0), 0.0, -10.0, 10.0)  # a plant that adds one
    assert value + 1.0 == pytest.approx(5.0, abs=1e-3)


def test_long_saturation_winds_nothing_up():
    loop = Pi(0.2, 0.1)
    for _ in range(1000):
        assert loop.step(100.0, 0.0, -1.0, 1.0) == 1.0
    assert min(loop.step(-100.0, 0.0, -1.0, 1.0) for _ in range(2)) == -1.0


@given(st.lists(st.floats(-1e6, 1e6), max_size=50))
def test_the_output_stays_within_the_limits(errors):
    loop = Pi(0.3, 0.05)
    assert all(10.0 <= loop.step(error, 12.0, 10.0, 20.0) <= 20.0 for error in errors)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anydepth_core.sensing.stuck import StuckWatch


def run(watch, values, step_s=10.0):
    return [watch.update(step_s * step, value) for step, value in enumerate(values)]


def test_a_frozen_sensor_is_found_once_its_neighbour_has_moved():
    results = run(StuckWatch(60, 5), [{'gpu': 40.0, 'cpu': 40.0 + step} for step in range(9)])
    assert results == [set()] * 6 + [{'gpu'}] * 3


def test_a_swing_that_has_passed_still_counts():
    cpu = [40.0, 50.0] + [40.1, 40.2] * 4
    assert run(StuckWatch(60, 5), [{'gpu': 40.0, 'cpu': c} for c in cpu])[-1] == {'gpu'}


def test_a_steady_device_has_no_stuck_sensor():
    assert not any(run(StuckWatch(60, 5), [{'gpu': 40.0, 'cpu': 41.0}] * 100))


def test_a_single_sensor_is_never_called_stuck():
    assert not any(run(StuckWatch(60, 5), [{'gpu': 40.0}] * 100))


def test_a_sensor_that_moves_again_is_trusted_again():
    values = [{'gpu': 40.0, 'cpu': 40.0 + step} for step in range(9)]
    assert run(StuckWatch(60, 5), [*values, {'gpu': 40.1, 'cpu': 60.0}])[-1] == set()


def test_a_clock_that_goes_back_starts_the_wait_anew():
    watch = StuckWatch(60, 5)
    assert watch.update(1000, {'gpu': 40.0, 'cpu': 40.0}) == set()
    assert watch.update(0, {'gpu': 40.0, 'cpu': 50.0}) == set()
    assert watch.update(59, {'gpu': 40.0, 'cpu': 60.0}) == set()
    assert watch.update(61, {'gpu': 40.0, 'cpu': 60.0}) == {'gpu'}


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50, unique=True))
def test_a_sensor_that_moves_each_time_is_never_stuck(values):
    watch = StuckWatch(0.0, 0.0)
    for step, value in enumerate(values):
        assert 'gpu' not in watch.update(10.0 * step, {'gpu': value, 'cpu': 0.0})

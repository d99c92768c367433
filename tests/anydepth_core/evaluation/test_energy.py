from __future__ import annotations

import time

import pytest

from anydepth_core.evaluation.energy import energy_of, measure_energy
from tests.anydepth_core.sensing.fake_device import write_jetson


class Board:
    """A board that takes 5 W, and while it works as many more as a frame takes seconds."""

    def __init__(self):
        self.now_s = 0.0
        self.power_w = 5.0
        self.fails_at_s = float('inf')

    def frame(self, seconds, above_idle_w):
        def work():
            self.now_s += seconds
            self.power_w = 5.0 + above_idle_w

        return work

    def sleep(self, seconds):
        self.now_s += seconds
        self.power_w = 5.0

    def read(self):
        return None if self.now_s >= self.fails_at_s else self.power_w

    def measure(self, *candidates, seconds=4.0):
        return energy_of(candidates, seconds, self.read, lambda: self.now_s, self.sleep)


def test_energy_of_a_frame_is_power_times_its_time_with_and_without_rest():
    board = Board()
    idle_w, (cheap, dear) = board.measure(board.frame(0.125, 2.0), board.frame(0.5, 4.0))
    assert idle_w == pytest.approx(5.0)
    assert (cheap.power_w, dear.power_w) == pytest.approx((7.0, 9.0))
    assert (cheap.frame_j, dear.frame_j) == pytest.approx((0.875, 4.5))
    assert (cheap.above_idle_j, dear.above_idle_j) == pytest.approx((0.25, 2.0))


def test_a_frame_longer_than_the_time_is_measured_once_each_way():
    board = Board()
    _, (slow,) = board.measure(board.frame(100.0, 1.0), seconds=1.0)
    assert slow.frame_j == pytest.approx(600.0)
    assert board.now_s == pytest.approx(1.0 + 4 * 100.0, abs=0.2)


@pytest.mark.parametrize('fails_at_s', [0.0, 2.0, 4.5, 9.0])
def test_power_that_is_unknown_at_any_time_makes_all_unknown(fails_at_s):
    board = Board()
    board.fails_at_s = fails_at_s
    assert board.measure(board.frame(0.5, 2.0)) is None


def test_a_machine_without_sensors_has_no_energy_and_no_frame_is_run(tmp_path):
    def work():
        raise AssertionError('ran')

    assert measure_energy([work], 1.0, tmp_path) is None


def test_the_total_rail_of_a_jetson_is_what_is_measured(tmp_path):
    idle_w, (energy,) = measure_energy([lambda: time.sleep(0.01)], 0.05, write_jetson(tmp_path))
    assert (idle_w, energy.power_w) == pytest.approx((7.0, 7.0))
    assert energy.frame_j > 0 and energy.above_idle_j == pytest.approx(0.0, abs=1e-9)

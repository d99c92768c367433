import random

import pytest

from anydepth_core.control.cost import LatencyModel
from anydepth_core.control.settings import ControllerSettings
from tests.anydepth_core.control.support import LATENCIES_MS, profile


def model():
    return LatencyModel(profile(), ControllerSettings())


def test_the_profile_holds_before_the_first_frame():
    cost = model()
    assert cost.median_ms(2) == 30.0
    assert cost.p95_ms(2) == pytest.approx(33.0)


def test_other_levels_follow_contention_within_few_frames():
    cost = model()
    for _ in range(30):
        cost.observe(2, 30.0)
    for _ in range(5):
        cost.observe(2, 45.0)
    assert cost.median_ms(4) == pytest.approx(42.0 * 1.5, rel=0.05)


def test_one_slow_frame_moves_little():
    cost = model()
    for _ in range(30):
        cost.observe(2, 30.0)
    cost.observe(2, 600.0)
    assert cost.median_ms(2) == pytest.approx(30.0, rel=0.02)


@pytest.mark.parametrize('noise', [0.03, 0.1])
def test_noise_leaves_the_median_and_gives_the_tail(noise):
    cost, random_ = model(), random.Random(0)
    for _ in range(1000):
        cost.observe(1, 25.0 * random_.gauss(1.0, noise))
    assert cost.median_ms(1) == pytest.approx(25.0, rel=0.05)
    assert cost.p95_ms(1) == pytest.approx(25.0 * (1 + 1.645 * noise), rel=0.06)


def test_one_level_off_its_profile_is_learned_as_its_own():
    cost = model()
    for turn in range(10):
        for _ in range(20):
            level = turn % 2
            cost.observe(level, LATENCIES_MS[level] * (1.4 if level else 1.0))
    assert cost.median_ms(0) == pytest.approx(20.0, rel=0.05)
    assert cost.median_ms(1) == pytest.approx(35.0, rel=0.05)


def test_drift_is_told_only_when_it_lasts():
    cost = model()
    for _ in range(30):
        cost.observe(2, 45.0)
        assert cost.drift(1.0) is None
    for _ in range(60):
        cost.observe(2, 45.0)
        ratio = cost.drift(1.0)
    assert ratio == pytest.approx(1.5, rel=0.05)


def test_a_broken_clock_cannot_push_the_estimate_out_of_reach():
    cost = model()
    for latency_ms in [600e3] * 50 + [30.0] * 10:
        cost.observe(2, latency_ms)
    assert cost.median_ms(2) == pytest.approx(30.0, rel=0.05)

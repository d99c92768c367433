"""Measuring each level on the running device."""

from __future__ import annotations

import numpy as np
import pytest

from anydepth_core.control.calibration import Calibration, SETTLING_FRAMES
from anydepth_core.control.profile import LevelProfile, Profile

ASSUMED = Profile(
    tuple(LevelProfile(depth, 50.0, 60.0, ap=ap) for depth, ap in (('base', 0.3), ('full', 0.4)))
)


def run(calibration: Calibration, level: int, latencies_ms: list[float]) -> None:
    for latency_ms in [999.0] * SETTLING_FRAMES + latencies_ms:
        calibration.frame(level, latency_ms)


def test_each_level_is_measured_from_the_cheapest_up() -> None:
    calibration = Calibration(ASSUMED, frames=10)
    cheap, dear = [float(x) for x in range(10, 20)], [40.0] * 10
    assert calibration.level == 0
    run(calibration, 0, cheap)
    assert calibration.level == 1
    run(calibration, 1, dear)
    assert calibration.level is None
    profile = calibration.profile('a robot')
    assert profile.device == 'a robot'
    assert [(one.depth, one.ap) for one in profile.levels] == [('base', 0.3), ('full', 0.4)]
    assert profile.levels[0].latency_ms == pytest.approx(np.median(cheap))
    assert profile.levels[0].latency_p95_ms == pytest.approx(np.percentile(cheap, 95))
    assert (profile.levels[1].latency_ms, profile.levels[1].latency_p95_ms) == (40.0, 40.0)


@pytest.mark.parametrize('latency_ms', [float('nan'), float('inf'), 0.0, -3.0])
def test_frames_of_other_levels_and_impossible_ones_do_not_count(latency_ms: float) -> None:
    calibration = Calibration(ASSUMED, frames=10)
    run(calibration, 0, [20.0] * 9)
    before = calibration.progress()
    calibration.frame(1, 20.0)
    calibration.frame(0, latency_ms)
    assert calibration.progress() == before == 'measuring level 0 of 1: 9 of 10 frames'


def test_an_unfinished_measurement_is_no_profile() -> None:
    calibration = Calibration(ASSUMED, frames=10)
    with pytest.raises(RuntimeError, match='level 0 was not measured yet'):
        calibration.profile('a robot')


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match='give 10 or more'):
        Calibration(ASSUMED, frames=9)

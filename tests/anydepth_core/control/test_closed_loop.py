"""What the controller promises, on simulated devices and beside the published law."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.figures import battery_optimum, best_mean_ap, Figures, figures
from anydepth_core.control.published import PublishedPolicy, synthetic_advantages
from anydepth_core.control.scenarios import (
    battery_mission,
    bursts,
    heat,
    latency_step,
    power_mode,
    run,
    sawtooth,
    Scenario,
    sensor_faults,
)

NOISES = (0.03, 0.10)


def ours(scenario: Scenario) -> Figures:
    return figures(run(Controller(scenario.device.profile), scenario))


def published(scenario: Scenario) -> Figures:
    advantages = synthetic_advantages(2060, scenario.seed + 5)
    return figures(run(PublishedPolicy(scenario.device.profile, None, advantages), scenario))


@pytest.mark.parametrize('noise', NOISES)
@pytest.mark.parametrize('build', [latency_step, sawtooth, power_mode])
def test_tracking_is_closer_than_the_published_law_at_equal_mean_and_no_lower_ap(
    build: Callable[..., Scenario], noise: float
) -> None:
    scenario = build(mode='tracking', noise=noise)
    mine, theirs = ours(scenario), published(scenario)
    assert mine.mean_latency_ms == pytest.approx(theirs.mean_latency_ms, abs=0.3)
    assert mine.tracking_error_ms < theirs.tracking_error_ms
    assert mine.mean_ap >= theirs.mean_ap


@pytest.mark.parametrize('noise', NOISES)
@pytest.mark.parametrize('build', [latency_step, sawtooth, bursts, power_mode])
def test_deadlines_are_missed_rarely_and_far_less_than_by_the_published_law(
    build: Callable[..., Scenario], noise: float
) -> None:
    scenario = build(mode='deadline', noise=noise)
    mine, theirs = ours(scenario), published(scenario)
    assert mine.miss_rate < 0.05
    assert mine.miss_rate < theirs.miss_rate / 4
    assert mine.changes_per_minute < theirs.changes_per_minute / 4


def test_heat_stays_under_the_hard_limit_and_settles_near_the_best_steady_mix() -> None:
    scenario = heat()
    result, targets = ours(scenario), scenario.schedule[0][1]
    device, soft_c = scenario.device, targets.temperature_soft_c
    steady_w = (soft_c - device.thermal.ambient_c) / device.thermal.resistance_c_per_w
    best = best_mean_ap(device.profile, (steady_w - device.idle_w) / device.rate_hz)
    assert result.seconds_over_hard == 0.0
    assert result.seconds_over_soft < 60.0
    assert result.late_changes_per_minute <= 2.0
    assert result.mean_ap > best - 0.004


def test_failing_sensors_never_let_the_device_over_the_hard_limit() -> None:
    assert ours(sensor_faults()).seconds_over_hard == 0.0


@pytest.mark.parametrize('reserve', [0.27, 0.32, 0.36])
def test_the_battery_ends_just_above_its_reserve_and_near_the_best_ap(reserve: float) -> None:
    scenario = battery_mission(reserve)
    result = ours(scenario)
    assert reserve <= result.final_charge <= reserve + 0.02
    assert battery_optimum(scenario) - 0.005 < result.mean_ap <= battery_optimum(scenario)
    assert result.late_changes_per_minute <= 2.0


def test_the_same_scenario_gives_the_same_decisions() -> None:
    scenario = bursts()
    first, second = (run(Controller(scenario.device.profile), scenario) for _ in range(2))
    assert first.decisions == second.decisions

"""The promises on heat and battery hold on devices that the law was not made for."""

from dataclasses import replace

import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.figures import Figures, figures
from anydepth_core.control.random_devices import random_hot_box, random_mission
from anydepth_core.control.scenarios import run, Scenario

SEEDS = range(4)


def ours(scenario: Scenario) -> Figures:
    profile = scenario.device.profile
    return figures(run(Controller(profile), scenario, len(profile.levels) - 1))


def told(scenario: Scenario, share: float | None) -> Scenario:
    """Return a mission whose controller is told so much of the battery's capacity."""
    targets = scenario.schedule[0][1]
    wh = None if share is None else share * scenario.device.battery.capacity_wh
    return replace(scenario, schedule=((0.0, replace(targets, battery_wh=wh)),))


@pytest.mark.parametrize('seed', SEEDS)
def test_full_depth_alone_would_pass_the_hard_limit_and_ours_never_does(seed: int) -> None:
    scenario = random_hot_box(seed)
    result = ours(scenario)
    assert result.seconds_over_hard == 0.0
    assert result.late_changes_per_minute <= 2.0


@pytest.mark.parametrize('share', [1.0, 1.1, None], ids=['exact', 'more', 'unknown'])
@pytest.mark.parametrize('seed', SEEDS)
def test_a_mission_ends_0_to_2_points_above_the_reserve(seed: int, share: float | None) -> None:
    scenario = told(random_mission(seed, 0.0), share)
    reserve = scenario.schedule[0][1].battery_reserve
    assert reserve is not None
    assert 0.0 <= ours(scenario).final_charge - reserve <= 0.02


@pytest.mark.parametrize('seed', SEEDS)
def test_a_gauge_that_sags_costs_no_reserve(seed: int) -> None:
    scenario = random_mission(seed)
    reserve = scenario.schedule[0][1].battery_reserve
    assert reserve is not None
    assert ours(scenario).final_charge >= reserve

import math

import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.energy import efficient_levels
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.signals import Signals
from anydepth_core.control.targets import Targets
from tests.anydepth_core.control.support import profile

RATE_HZ, IDLE_W, STEP_S, CAPACITY_WH = 20.0, 4.0, 0.5, 10.0


def power_w(level, factor=1.0):
    return IDLE_W + factor * RATE_HZ * profile().levels[level].energy_j


def mission(reserve, factor=1.0, told_wh=CAPACITY_WH, sees=lambda time_s, charge: charge):
    """Fly a mission of half an hour from 90 percent; give (final charge, levels)."""
    targets = Targets(battery_reserve=reserve, mission_end_s=1800.0, battery_wh=told_wh)
    controller, charge, level, levels = Controller(profile(), targets), 0.9, 4, []
    for step in range(int(1800 / STEP_S)):
        time_s, watts = step * STEP_S, power_w(level, factor)
        seen, measured = sees(time_s, charge), watts
        if isinstance(seen, tuple):
            seen, measured = seen
        signals = Signals(time_s, rate_hz=RATE_HZ, power_w=measured, battery=seen)
        level = controller.decide(signals).level
        charge -= power_w(level, factor) * STEP_S / 3600 / CAPACITY_WH
        levels.append(level)
    return charge, levels


def bracket(factor=1.0):
    """Give the final charge of always full and of always base."""
    return tuple(0.9 - power_w(level, factor) / 2 / CAPACITY_WH for level in (4, 0))


@pytest.mark.parametrize('factor', [0.8, 1.0, 1.2])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.9])
def test_the_mission_ends_just_above_the_reserve(share, factor):
    low, high = bracket(factor)
    reserve = low + share * (high - low)
    charge, _ = mission(reserve, factor=factor)
    assert 0.0 <= charge - reserve <= 0.02


def test_a_reserve_that_full_depth_keeps_costs_nothing():
    _, levels = mission(bracket()[0] - 0.02)
    assert set(levels) == {4}


def test_an_unknown_capacity_is_learned():
    reserve = sum(bracket()) / 2
    charge, _ = mission(reserve, told_wh=None)
    assert 0.0 <= charge - reserve <= 0.02


@pytest.mark.parametrize(
    'sees',
    [
        lambda time_s, charge: round(charge, 2),
        lambda time_s, charge: charge if time_s < 300 else math.nan,
        lambda time_s, charge: (round(charge, 2), None),
    ],
    ids=['steps of a percent', 'gauge lost', 'power not measured'],
)
def test_poor_sensors_end_the_mission_with_the_reserve(sees):
    reserve = sum(bracket()) / 2
    charge, _ = mission(reserve, sees=sees)
    assert -0.005 <= charge - reserve <= 0.025


def test_a_battery_never_seen_gives_the_middle_of_the_ladder():
    decision = Controller(profile(), Targets(battery_reserve=0.2)).decide(Signals(0.0))
    assert (decision.level, decision.authority) == (2, 'energy')
    assert 'battery unknown' in decision.reason


def test_a_charging_battery_asks_for_nothing():
    controller = Controller(profile(), Targets(battery_reserve=0.5))
    assert controller.decide(Signals(0.0, battery=0.1, charging=True)).level == 4


def test_without_a_mission_end_the_level_falls_towards_the_reserve():
    def level(charge):
        controller = Controller(profile(), Targets(battery_reserve=0.2))
        return controller.decide(Signals(0.0, battery=charge)).level

    assert [level(charge) for charge in (0.5, 0.24, 0.22, 0.2, 0.0)] == [4, 4, 2, 0, 0]


def test_a_power_budget_is_kept_by_the_highest_level_that_fits():
    controller, level, path = Controller(profile(), Targets(power_budget_w=10.8)), 4, []
    for step in range(600):
        signals = Signals(step * STEP_S, rate_hz=RATE_HZ, power_w=power_w(level))
        level = controller.decide(signals).level
        path.append(level)
    assert set(path[200:]) == {2}  # 10 W; level 3 takes 11.2 W


def test_a_gauge_that_falls_without_use_is_survived():
    controller = Controller(profile(), Targets(battery_reserve=0.2, mission_end_s=100.0))
    for step, charge in enumerate((1.0, 0.5, 0.0, None, None)):
        decision = controller.decide(Signals(float(step), power_w=0.0, battery=charge))
        assert 0 <= decision.level <= 4


@pytest.mark.parametrize(
    ('energies', 'aps', 'kept'),
    [
        ((1, 2, 3), (0.40, 0.46, 0.48), (0, 1, 2)),
        ((1, 2, 3), (0.40, 0.41, 0.48), (0, 2)),
        ((1, 2, 3), (0.40, 0.44, 0.48), (0, 1, 2)),
        ((1, 2, 3, 4), (0.40, 0.41, 0.42, 0.48), (0, 3)),
        ((1, 2, 3), (0.40, None, 0.48), (0, 1, 2)),
        ((None, 2, 3), (0.40, 0.41, 0.48), (0, 2)),
        ((1,), (0.40,), (0,)),
    ],
)
def test_levels_that_a_mix_of_others_beats_are_left_out(energies, aps, kept):
    levels = tuple(
        LevelProfile(str(index), 10.0 + 10.0 * index, 12.0 + 12.0 * index, energy, ap)
        for index, (energy, ap) in enumerate(zip(energies, aps))
    )
    assert efficient_levels(Profile(levels)) == kept


def test_the_battery_raises_a_lowered_level_once_a_minute_at_most():
    _, levels = mission(sum(bracket()) / 2, sees=lambda time_s, charge: round(charge, 2))
    raised = [i * STEP_S for i in range(1, len(levels)) if levels[i] > levels[i - 1]]
    assert raised
    assert all(later - sooner >= 60 for sooner, later in zip(raised, raised[1:]))


def test_new_targets_do_not_wait_for_the_old_ones():
    controller, level = Controller(profile(), Targets()), 4
    for step in range(400):
        reserve = 0.88 if step < 200 else 0.1
        if step in (0, 200):
            controller.set_targets(
                Targets(battery_reserve=reserve, mission_end_s=1800.0, battery_wh=CAPACITY_WH)
            )
        time_s = step * STEP_S
        signals = Signals(time_s, rate_hz=RATE_HZ, power_w=power_w(level), battery=0.9)
        level = controller.decide(signals).level
        if step == 199:
            assert level == 0
        if step == 200 + 3.0 / STEP_S:
            assert level > 0

import random

import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.settings import ControllerSettings
from anydepth_core.control.signals import Signals
from anydepth_core.control.targets import Targets
from anydepth_core.control.thermal import SoftLimit
from tests.anydepth_core.control.support import profile

TARGETS = Targets(temperature_soft_c=80.0, temperature_hard_c=90.0)


def heated(time_constant_s, seconds, step_s=0.2, targets=TARGETS):
    """Close the loop on a first-order plant that full depth takes to 100 C; give (C, level)."""
    controller, noise = Controller(profile(), targets), random.Random(0)
    celsius, path = 40.0, []
    for step in range(int(seconds / step_s)):
        reading = {'gpu': celsius + noise.gauss(0.0, 0.3)}
        level = controller.decide(Signals(step * step_s, temperatures_c=reading)).level
        celsius += (60.0 + 10.0 * level - celsius) * step_s / time_constant_s
        path.append((celsius, level))
    return path


@pytest.mark.parametrize('time_constant_s', [20.0, 90.0, 300.0])
def test_half_an_hour_stays_under_the_hard_limit_and_settles(time_constant_s):
    path = heated(time_constant_s, 1800.0)
    late = [level for _, level in path[2 * len(path) // 3 :]]
    assert max(celsius for celsius, _ in path) < 90.0
    assert sum(a != b for a, b in zip(late, late[1:])) <= 2 * 10
    assert sum(late) / len(late) > 0.9  # level 1 rests at 70 C: it must not hide at level 0


def test_a_hard_limit_alone_is_approached_from_below():
    path = heated(90.0, 600.0, targets=Targets(temperature_hard_c=90.0))
    assert max(celsius for celsius, _ in path) < 90.0


def bound(limit, celsius, targets=TARGETS, step_s=1.0):
    readings = {} if celsius is None else {'gpu': celsius}
    return limit.bound(Signals(0.0, temperatures_c=readings), targets, step_s, 4)


def test_the_reason_names_zone_and_limit():
    limit = SoftLimit(4, ControllerSettings())
    answer = bound(limit, 83.0)
    assert (answer.level, answer.cause) == (3, 'gpu 83.0 C over 80.0 C soft limit')


def test_it_acts_before_the_limit_when_the_slope_leads_there():
    limit = SoftLimit(4, ControllerSettings())
    answers = [bound(limit, 70.0 + 0.5 * second) for second in range(19)]  # ends at 79 C
    assert answers[-1] is not None


def test_silence_of_a_zone_costs_levels_and_a_reading_gives_them_back():
    limit = SoftLimit(4, ControllerSettings(temperature_settle_s=10.0))
    bound(limit, 60.0)
    levels = [bound(limit, None) for _ in range(60)]
    assert levels[5] is None
    assert (levels[15].level, levels[-1].level) == (3, 0)
    assert bound(limit, 60.0) is None


@pytest.mark.parametrize(('celsius', 'level'), [(76.0, None), (78.0, 0), (82.0, 0)])
def test_after_silence_the_levels_come_back_only_well_below_the_limit(celsius, level):
    limit = SoftLimit(4, ControllerSettings(temperature_settle_s=10.0))
    bound(limit, 60.0)
    for _ in range(60):
        bound(limit, None)
    answer = bound(limit, celsius)
    assert (None if answer is None else answer.level) == level


def test_an_absent_zone_asks_for_nothing():
    limit = SoftLimit(4, ControllerSettings())
    assert all(bound(limit, None) is None for _ in range(60))


def test_a_limit_taken_away_frees_the_ladder():
    limit = SoftLimit(4, ControllerSettings())
    assert bound(limit, 85.0) is not None
    assert bound(limit, 85.0, Targets()) is None

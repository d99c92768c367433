import math

import pytest

from anydepth_core.control.targets import Targets


def test_no_target_is_the_default():
    targets = Targets()
    assert targets.deadline() is None
    assert targets.soft_limit_c('gpu') is None and targets.hard_limit_c('gpu') is None


def test_the_shorter_of_deadline_and_period_holds():
    assert Targets(deadline_ms=50.0, rate_fps=25.0).deadline() == 40.0
    assert Targets(deadline_ms=30.0, rate_fps=25.0).deadline() == 30.0


def test_limits_are_given_for_all_zones_or_by_name():
    targets = Targets(temperature_soft_c={'gpu': 70.0, '*': 60.0}, temperature_hard_c=90.0)
    assert targets.soft_limit_c('gpu') == 70.0
    assert targets.soft_limit_c('cpu') == 60.0
    assert targets.hard_limit_c('cpu') == 90.0


def test_a_hard_limit_alone_implies_a_soft_one_below():
    assert Targets(temperature_hard_c={'gpu': 90.0}).soft_limit_c('gpu') == 85.0


@pytest.mark.parametrize(
    'given, words',
    [
        ({'mode': 'fast'}, 'deadline, tracking'),
        ({'deadline_ms': 0.0}, 'deadline_ms must be a positive'),
        ({'rate_fps': math.nan}, 'rate_fps must be a positive'),
        ({'power_budget_w': math.inf}, 'power_budget_w must be a positive'),
        ({'battery_wh': -1.0}, 'battery_wh must be a positive'),
        ({'mission_end_s': math.nan}, 'mission_end_s must be a finite'),
        ({'battery_reserve': 20.0}, 'between 0 and 1'),
        ({'min_level': -1}, 'must not be negative'),
        ({'temperature_hard_c': {'gpu': math.nan}}, 'zone gpu'),
        ({'temperature_soft_c': 90.0, 'temperature_hard_c': {'gpu': 80.0, '*': 80.0}}, 'below'),
        ({'temperature_soft_c': 90.0, 'temperature_hard_c': {'gpu': 80.0}}, 'zone gpu'),
    ],
)
def test_impossible_targets_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Targets(**given)

from anydepth_core.control.limits import HardLimits
from anydepth_core.control.settings import ControllerSettings
from anydepth_core.control.signals import Signals
from anydepth_core.control.targets import Targets

TARGETS = Targets(temperature_hard_c=90.0)


def bound(limits, step_s=1.0, targets=TARGETS, **signals):
    return limits.bound(Signals(0.0, **signals), targets, step_s)


def test_a_hard_limit_gives_level_0_and_names_the_zone():
    answer = bound(HardLimits(ControllerSettings()), temperatures_c={'cpu': 50.0, 'gpu': 90.0})
    assert answer.level == 0
    assert answer.cause == 'gpu 90.0 C at its 90.0 C hard limit'


def test_it_lets_go_only_well_below_and_after_the_hold():
    limits = HardLimits(ControllerSettings(hard_release_c=3.0, safety_hold_s=10.0))
    bound(limits, temperatures_c={'gpu': 91.0})
    assert all(bound(limits, temperatures_c={'gpu': 88.0}) for _ in range(60))
    assert all(bound(limits, temperatures_c={'gpu': 86.0}) for _ in range(9))
    assert bound(limits, temperatures_c={'gpu': 86.0}) is None


def test_a_zone_that_falls_silent_over_its_limit_stays_over_it():
    limits = HardLimits(ControllerSettings())
    bound(limits, temperatures_c={'gpu': 91.0})
    assert all(bound(limits, temperatures_c={'cpu': 40.0}) for _ in range(300))


def test_over_current_that_comes_back_is_waited_out_longer():
    limits = HardLimits(ControllerSettings(over_current_hold_s=30.0))

    def seconds_held():
        bound(limits, over_current=True)
        return next(second for second in range(1, 999) if bound(limits) is None)

    assert [seconds_held() for _ in range(3)] == [30, 60, 120]


def test_over_current_after_a_long_quiet_is_new():
    limits = HardLimits(ControllerSettings(over_current_hold_s=30.0))
    bound(limits, over_current=True)
    for _ in range(500):
        bound(limits)
    bound(limits, over_current=True)
    assert [bound(limits) is None for _ in range(30)] == [False] * 29 + [True]

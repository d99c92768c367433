from anydepth_core.control.dwell import Dwell
from anydepth_core.control.settings import ControllerSettings

LAW = ControllerSettings(dwell_up_s=3.0, dwell_down_s=0.5, tracking_dwell_s=0.1)


def after(since_s, wanted, mode='deadline'):
    return Dwell(LAW, 2, since_s).settle(wanted, mode)


def test_up_waits_longer_than_down():
    assert (after(0.4, 1), after(0.5, 1)) == (2, 1)
    assert (after(2.9, 3), after(3.0, 3)) == (2, 3)


def test_tracking_has_its_own_dwell():
    assert (after(0.05, 3, 'tracking'), after(0.1, 3, 'tracking')) == (2, 3)


def test_steps_that_add_up_but_for_rounding_are_enough():
    assert after(sum([0.1] * 5) - 1e-12, 1) == 1


def test_a_forced_change_starts_the_dwell_again():
    dwell = Dwell(LAW, 2, 9.0)
    dwell.force(0)
    assert dwell.settle(3, 'deadline') == 0

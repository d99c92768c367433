"""What the controller tells about a decision."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
import pytest

from anydepth_core.control.signals import Decision
from anydepth_ros.controller_report import decision_message, DetectorState
from anydepth_ros.conversions import stats_values

TOP = Decision(2, 'level 2 of 2: nothing is short', 'accuracy')
LOW = Decision(0, 'level 0 of 2: gpu 95.0 C over 90.0 C hard limit', 'safety')
OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


@pytest.mark.parametrize(
    ('decision', 'mode', 'reachable', 'level', 'words'),
    [
        (TOP, 'auto', True, OK, 'nothing is short'),
        (LOW, 'auto', True, WARN, 'degraded on purpose: level 0 of 2: gpu 95.0 C'),
        (LOW, 'manual', True, OK, 'depth_mode is manual: the depth is left as it is'),
        (LOW, '', True, WARN, 'the detector is silent'),
        (TOP, '', False, WARN, 'the detector is not there'),
    ],
)
def test_a_decision_is_judged_and_told(
    decision: Decision, mode: str, reachable: bool, level: bytes, words: str
) -> None:
    message = decision_message('controller', decision, 2, DetectorState(mode, reachable))
    (status,) = message.status
    assert (status.name, status.level) == ('controller: decision', level)
    assert words in status.message
    assert stats_values(message) == {
        'Level': str(decision.level),
        'Top level': '2',
        'Reason': decision.reason,
        'Authority': decision.authority,
        'Mode': mode,
        'Profile': 'assumed from the bundle',
        'Measured over profile latency': 'n/a',
    }


def test_a_profile_is_named_and_told_when_it_is_out_of_date() -> None:
    state = DetectorState('auto', True)
    fresh = stats_values(decision_message('controller', TOP, 2, state, None, 'costs.yaml'))
    assert fresh['Profile'] == 'costs.yaml'
    old = stats_values(decision_message('controller', TOP, 2, state, 1.5, 'costs.yaml'))
    assert old['Measured over profile latency'] == '1.50'
    assert old['Profile'] == (
        'the profile costs.yaml is out of date: images take 1.50 times what it says; measure '
        'again with calibrate_on_start'
    )

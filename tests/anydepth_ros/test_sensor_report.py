"""What the controller tells about the sensors."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
import pytest

from anydepth_core.control.targets import Targets
from anydepth_core.sensing.sample import Sample
from anydepth_ros.conversions import stats_values
from anydepth_ros.sensor_report import sensors_message, unheard_limits

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
SAMPLE = Sample(0.0, {'gpu': 48.25}, {'VDD_IN': 7.0}, 7.0, battery=0.5, absent=('fan: none',))


@pytest.mark.parametrize(
    ('sample', 'problems', 'level', 'message'),
    [
        (SAMPLE, [], OK, 'the sensors answer'),
        (SAMPLE, ['gpu: stuck'], WARN, 'gpu: stuck'),
        (SAMPLE, ['gpu: stuck', 'b', 'c'], WARN, 'gpu: stuck (and 2 more)'),
        (None, [], OK, 'not read: sensors is false'),
        (None, ['no temperature'], WARN, 'no temperature'),
    ],
)
def test_a_problem_is_a_warning_with_its_sentence(
    sample: Sample | None, problems: list[str], level: bytes, message: str
) -> None:
    (status,) = sensors_message('controller', sample, problems).status
    assert (status.name, status.level) == ('controller: sensors', level)
    assert status.message == message


def test_every_value_is_told_and_what_is_unknown_is_no_number() -> None:
    values = stats_values(sensors_message('controller', SAMPLE, ['a', 'b']))
    assert values['Temperature gpu (C)'] == '48.2' and values['Rail VDD_IN (W)'] == '7.00'
    assert values['Battery (%)'] == '50.0' and values['Charging'] == 'n/a'
    assert values['CPU cap (%)'] == 'n/a' and values['Problems'] == 'a; b'
    assert values['Not on this device'] == 'fan: none'


@pytest.mark.parametrize(
    ('targets', 'own', 'known', 'words'),
    [
        (Targets(), [], [], None),
        (Targets(temperature_soft_c=80.0), [], ['gpu'], None),
        (Targets(temperature_soft_c=80.0), [], [], 'no temperature is known'),
        (Targets(temperature_hard_c={'gpu': 80.0}), ['gpu'], ['gpu', 'cpu'], None),
        (Targets(temperature_hard_c={'gpux': 80.0}), ['gpux'], ['gpu'], 'known zones: gpu'),
        (Targets(temperature_hard_c={'gpux': 80.0}), ['gpux'], [], 'known zones: none'),
    ],
)
def test_a_limit_without_a_temperature_is_a_problem(
    targets: Targets, own: list[str], known: list[str], words: str | None
) -> None:
    found = unheard_limits(targets, own, known)
    assert found == () if words is None else len(found) == 1 and words in found[0]

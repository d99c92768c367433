"""The statuses on /diagnostics: names, levels, messages, values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.serialization import deserialize_message, serialize_message

from anydepth_ros.diagnostics import CameraState, EngineState, ERROR, OK, statuses, TASKS, WARN
from anydepth_ros.tally import Tally

ENGINE = EngineState(
    state='active',
    backend='onnxruntime',
    model='toy',
    ready=('1111-1111', '0000-0000'),
    building=(),
    failed=(),
    error='',
)
REPORT = replace(
    Tally(lambda: 0.0).report(),
    received=300,
    answered=150,
    received_hz=30.0,
    answered_hz=15.0,
    received_ago_s=0.03,
    answered_ago_s=0.05,
    age_ms=45.04,
    last_age_ms=40.0,
    latency_ms=38.2,
)
CAMERA = CameraState(
    name='',
    topic='/image',
    report=REPORT,
    dropped=148,
    silence='',
    paused=False,
    target_latency_ms=0.0,
    max_image_age_ms=0.0,
    depth='1111-1111',
    wanted_depth='1111-1111',
    level=4,
    top_level=4,
    depth_mode='manual',
    depth_reason='',
)


def status(task: str, engine: EngineState = ENGINE, **changes: Any) -> DiagnosticStatus:
    """Return one status of a camera that differs from the usual one."""
    found = statuses('detector', 'toy', engine, [replace(CAMERA, **changes)])
    return next(each for each in found if each.name == f'detector: {task}')


def values(one: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in one.values}


# All of them


def test_a_working_detector_is_ok_everywhere() -> None:
    found = statuses('detector', 'toy', ENGINE, [CAMERA])
    assert [(each.name, each.level, each.message) for each in found] == [
        ('detector: engine', OK, 'active: toy on onnxruntime'),
        ('detector: image', OK, '30.0 Hz received, 15.0 Hz answered'),
        ('detector: latency', OK, 'p95 38.2 ms, no target'),
        ('detector: depth', OK, 'manual: depth 1111-1111'),
    ]
    assert {each.hardware_id for each in found} == {'toy'}


def test_several_cameras_have_their_own_statuses_and_one_engine() -> None:
    cameras = [replace(CAMERA, name=name) for name in ('front', 'rear')]
    assert [each.name for each in statuses('detector', 'toy', ENGINE, cameras)] == [
        'detector: engine',
        'detector: front image',
        'detector: front latency',
        'detector: front depth',
        'detector: rear image',
        'detector: rear latency',
        'detector: rear depth',
    ]


def test_the_hardware_id_is_never_empty() -> None:
    assert {each.hardware_id for each in statuses('det', '', ENGINE, [CAMERA])} == {'det'}


def test_statuses_pass_the_middleware() -> None:
    message = DiagnosticArray(status=statuses('detector', 'toy', ENGINE, [CAMERA]))
    assert deserialize_message(serialize_message(message), DiagnosticArray) == message


def test_every_status_has_the_documented_values_and_levels() -> None:
    found = statuses('detector', 'toy', ENGINE, [CAMERA])
    assert [[pair.key for pair in each.values] for each in found] == [
        list(task.keys) for task in TASKS
    ]
    for task in TASKS:
        assert task.ok
        assert task.warn
        assert all(task.keys.values())


@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'finalized'])
def test_a_node_that_is_not_active_is_ok_and_says_so(state: str) -> None:
    camera = replace(CAMERA, silence='nobody publishes', depth='a', target_latency_ms=1.0)
    found = statuses('detector', 'toy', replace(ENGINE, state=state), [camera])
    assert {each.level for each in found} == {OK}
    assert {each.message for each in found} == {f'{state}: no image is processed'}


def test_a_paused_camera_is_ok_and_says_how_to_go_on() -> None:
    for task in ('image', 'latency', 'depth'):
        one = status(task, paused=True, silence='old news', depth='a', target_latency_ms=1.0)
        assert one.level == OK
        assert one.message == 'paused: no image is processed until ~/enable is called with true'


# Engine


def test_an_engine_error_is_an_error_in_any_state() -> None:
    for state in ('unconfigured', 'active'):
        one = status('engine', replace(ENGINE, state=state, error='no bundle at /x'))
        assert (one.level, one.message) == (ERROR, 'no bundle at /x')


def test_a_depth_that_cannot_be_built_is_a_warning() -> None:
    one = status('engine', replace(ENGINE, failed=(('1010-1010', 'out of memory'),)))
    assert one.level == WARN
    assert one.message == (
        'depth 1010-1010 could not be built, the nearest ready one serves: out of memory'
    )
    assert values(one)['Failed'] == '1010-1010: out of memory'


def test_nothing_to_serve_from_is_an_error_and_a_first_build_a_warning() -> None:
    nothing = replace(ENGINE, ready=())
    failed = status('engine', replace(nothing, failed=(('1010-1010', 'out of memory'),)))
    assert (failed.level, failed.message) == (
        ERROR,
        'depth 1010-1010 could not be built, no image is processed: out of memory',
    )
    building = status('engine', replace(nothing, building=('1010-1010',)))
    assert (building.level, building.message) == (
        WARN,
        'building depth 1010-1010, no image is processed',
    )


def test_a_depth_that_is_being_built_is_said() -> None:
    one = status('engine', replace(ENGINE, building=('1010-1010',)))
    assert (one.level, one.message) == (
        OK,
        'building depth 1010-1010, the nearest ready one serves',
    )
    assert values(one) == {
        'State': 'active',
        'Model': 'toy',
        'Back end': 'onnxruntime',
        'Ready depths': '1111-1111, 0000-0000',
        'Building': '1010-1010',
        'Failed': 'n/a',
    }


# Image


def test_silence_is_an_error_with_its_reason() -> None:
    one = status('image', silence='nobody publishes /image')
    assert (one.level, one.message) == (ERROR, 'nobody publishes /image')


@pytest.mark.parametrize(('ago_s', 'level'), [(0.1, WARN), (5.0, WARN), (5.1, OK)])
def test_a_recent_rejection_is_a_warning(ago_s: float, level: bytes) -> None:
    report = replace(REPORT, rejected=1, reason='image is empty', reason_age_s=ago_s)
    one = status('image', report=report)
    assert one.level == level
    assert ('image is empty' in one.message) == (level == WARN)
    assert (values(one)['Rejected'], values(one)['Last rejection']) == ('1', 'image is empty')


def test_a_problem_with_the_stamps_is_a_warning() -> None:
    one = status('image', report=replace(REPORT, age_ms=-300.0))
    assert one.level == WARN
    assert one.message.startswith('the stamps of the images are 300 ms in the future')


@pytest.mark.parametrize(('ago_s', 'level'), [(1.2, WARN), (6.0, OK)])
def test_an_image_skipped_as_too_old_is_a_warning(ago_s: float, level: bytes) -> None:
    report = replace(REPORT, too_old=7, too_old_ago_s=ago_s)
    one = status('image', report=report, max_image_age_ms=200.0)
    assert one.level == level
    assert level == OK or one.message == (
        'an image was skipped 1.2 s ago because it was older than max_image_age_ms (200), 7 so far'
    )


@pytest.mark.parametrize('received_ago_s', [None, 60.0])
def test_before_the_first_image_it_waits(received_ago_s: float | None) -> None:
    report = replace(Tally(lambda: 0.0).report(), received_ago_s=received_ago_s)
    one = status('image', report=report)
    assert (one.level, one.message) == (OK, 'waiting for images on /image')
    assert values(one)['Stamp age (ms)'] == 'n/a'


def test_the_image_status_carries_the_counts() -> None:
    report = replace(REPORT, too_old=3, rejected=2, reason='bad')
    assert values(status('image', report=report)) == {
        'Topic': '/image',
        'Received rate (Hz)': '30.0',
        'Answered rate (Hz)': '15.0',
        'Stamp age (ms)': '45.0',
        'Last stamp age (ms)': '40.0',
        'Last image (s ago)': '0.0',
        'Received': '300',
        'Answered': '150',
        'Dropped': '148',
        'Too old': '3',
        'Rejected': '2',
        'Last rejection': 'bad',
    }


# Latency


@pytest.mark.parametrize(
    ('target_ms', 'level', 'message'),
    [
        (0.0, OK, 'p95 38.2 ms, no target'),
        (38.2, OK, 'target met: p95 38.2 ms, target 38.2 ms'),
        (
            30.0,
            WARN,
            'late: p95 38.2 ms, target 30.0 ms: choose a cheaper depth or depth_mode:=auto',
        ),
    ],
)
def test_latency_is_held_against_the_target(target_ms: float, level: bytes, message: str) -> None:
    one = status('latency', target_latency_ms=target_ms)
    assert (one.level, one.message) == (level, message)
    assert values(one)['Latency p95 (ms)'] == '38.2'
    assert values(one)['Target (ms)'] == (f'{target_ms:.1f}' if target_ms else 'n/a')


def test_without_answers_there_is_no_latency() -> None:
    one = status('latency', report=replace(REPORT, latency_ms=None), target_latency_ms=30.0)
    assert (one.level, one.message) == (OK, 'no image was answered lately')


# Depth


def test_auto_below_the_top_is_degraded_on_purpose() -> None:
    one = status('depth', depth_mode='auto', level=1, depth_reason='battery at 12 %')
    assert one.level == WARN
    assert one.message == 'degraded on purpose: battery at 12 % (level 1, depth 1111-1111)'


@pytest.mark.parametrize(
    ('mode', 'level'), [('auto', 4), ('auto', None), ('manual', 1), ('manual', None)]
)
def test_the_top_in_auto_and_any_wanted_depth_in_manual_is_ok(
    mode: str, level: int | None
) -> None:
    one = status('depth', depth_mode=mode, level=level)
    assert (one.level, one.message) == (OK, f'{mode}: depth 1111-1111')


@pytest.mark.parametrize('mode', ['manual', 'auto'])
def test_another_depth_than_the_wanted_one_is_a_warning_with_the_reason(mode: str) -> None:
    reason = '1010-1010 is being built'
    one = status('depth', wanted_depth='1010-1010', depth_mode=mode, depth_reason=reason)
    assert one.level == WARN
    assert one.message == f'depth 1111-1111 serves instead of 1010-1010: {reason}'


def test_the_depth_status_carries_who_chose_what() -> None:
    assert values(status('depth', level=None, depth_reason='by hand')) == {
        'Depth': '1111-1111',
        'Wanted depth': '1111-1111',
        'Level': 'n/a',
        'Top level': '4',
        'Mode': 'manual',
        'Reason': 'by hand',
    }


# Any input

DEPTHS = st.sampled_from(['full', 'base', '1010-1010', ' \n'])
ENGINES = st.builds(
    EngineState,
    state=st.sampled_from(['active', 'inactive']),
    building=st.lists(DEPTHS, max_size=2).map(tuple),
    failed=st.lists(st.tuples(DEPTHS, st.text()), max_size=2).map(tuple),
    error=st.just('') | st.text(),
)
CAMERAS = st.builds(
    CameraState,
    silence=st.just('') | st.text(),
    depth=DEPTHS,
    wanted_depth=DEPTHS,
    depth_mode=st.sampled_from(['manual', 'auto']),
)


@given(st.text(), st.text(min_size=1), ENGINES, st.lists(CAMERAS, max_size=2))
def test_statuses_never_raise_and_fit_on_one_line(
    node_name: str, hardware_id: str, engine: EngineState, cameras: list[CameraState]
) -> None:
    found = statuses(node_name, hardware_id, engine, cameras)
    assert len(found) == 1 + 3 * len(cameras)
    for each in found:
        assert len(each.message.splitlines()) <= 1
        assert all(len(pair.value.splitlines()) == 1 for pair in each.values)

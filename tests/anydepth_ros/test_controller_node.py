"""The controller node with a real detector, on the toy bundle, in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import BatteryState, Temperature

from anydepth_core.control.profile import load_profile
from anydepth_core.export.bundle import Bundle
from anydepth_ros.controller_node import ControllerNode
from anydepth_ros.conversions import stats_values
from anydepth_ros.qos import image_qos, OUTPUT
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.controller_setup import fake_sampler, HOT, Setup
from tests.anydepth_ros.support import Probe


def test_without_targets_the_highest_level_serves(graph: Graph, toy_bundle: Bundle) -> None:
    setup = Setup(graph, toy_bundle)
    assert setup.probe.set(depth=0) == (True, '')
    setup.reach('2')
    wait_until(lambda: setup.decisions and setup.told()[0] == DiagnosticStatus.OK)


def test_heat_lowers_the_depth_and_the_reason_is_told(graph: Graph, toy_bundle: Bundle) -> None:
    setup = Setup(graph, toy_bundle, **HOT)
    setup.reach('2')
    setup.sampler.heat(95.0)
    setup.reach('0')
    wait_until(lambda: setup.told()[0] == DiagnosticStatus.WARN)
    assert 'gpu' in setup.told()[1] and '95.0 C' in setup.told()[1]
    values = stats_values(setup.decisions[-1])
    assert values['Level'] == '0' and values['Authority'] == 'safety'


def test_a_depth_set_by_hand_is_overwritten_in_auto_and_kept_in_manual(
    graph: Graph, toy_bundle: Bundle
) -> None:
    setup = Setup(graph, toy_bundle)
    setup.reach('2')
    assert setup.probe.set(depth=0) == (True, '')
    setup.reach('2')
    assert setup.probe.set(depth_mode='manual', depth=1) == (True, '')
    wait_until(lambda: 'depth_mode is manual' in (setup.level() and setup.told()[1]))
    setup.sampler.heat(60.0)
    assert [setup.level() for _ in range(10)] == ['1'] * 10
    assert setup.probe.set(depth_mode='auto') == (True, '')
    setup.reach('2')


def test_targets_are_live_and_wrong_ones_are_refused(graph: Graph, toy_bundle: Bundle) -> None:
    setup = Setup(graph, toy_bundle)
    setup.reach('2')
    assert setup.set(max_level=1) == (True, '')
    setup.reach('1')
    assert setup.set(max_level=100, min_level=0) == (True, '')
    setup.reach('2')
    for change, words in (
        ({'mode': 'fast'}, 'deadline, tracking'),
        ({'deadline_ms': -1.0}, 'deadline_ms'),
        ({'model': 'other'}, 'model'),
    ):
        accepted, reason = setup.set(**change)
        assert not accepted and words in reason


def test_a_restarted_detector_is_controlled_again(graph: Graph, toy_bundle: Bundle) -> None:
    setup = Setup(graph, toy_bundle, max_level=1)
    setup.reach('1')
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        getattr(setup.detector, f'trigger_{transition}')()
    assert setup.probe.set(depth='full') == (True, '')
    setup.probe.wait_for_detector()
    wait_until(lambda: setup.detector._cameras[''].stats.get_subscription_count() == 2)
    setup.reach('1')


def test_every_level_is_measured_on_start_and_the_costs_are_stored(
    graph: Graph, toy_bundle: Bundle, tmp_path: Path
) -> None:
    file = tmp_path / 'costs.yaml'
    calibrating = {'calibrate_on_start': True, 'profile': str(file), 'calibration_frames': 10}
    setup = Setup(graph, toy_bundle, **calibrating)
    assert setup.probe.set(depth_mode='manual') == (True, '')
    assert [setup.level() for _ in range(5)][-1] == '2'  # by hand: nothing is measured
    assert setup.probe.set(depth_mode='auto') == (True, '')
    levels = [setup.level()]
    wait_until(lambda: levels.append(setup.level()) or file.is_file(), 'the file')
    assert levels.count('0') >= 10 and levels.count('1') >= 10
    profile = load_profile(file)
    assert [one.ap for one in profile.levels] == [0.2, 0.3, 0.4]
    assert all(0 < one.latency_ms <= one.latency_p95_ms < 1000 for one in profile.levels)
    setup.reach('2')


def test_safety_goes_before_measuring(graph: Graph, toy_bundle: Bundle, tmp_path: Path) -> None:
    calibrating = {'calibrate_on_start': True, 'profile': str(tmp_path / 'costs.yaml')}
    setup = Setup(graph, toy_bundle, **HOT, calibration_frames=10, **calibrating)
    wait_until(lambda: setup.level() == '1', 'level 1 is measured')
    setup.sampler.heat(95.0)
    setup.reach('0')
    assert not (tmp_path / 'costs.yaml').exists()


def publish_battery(node: Node) -> Callable[[], None]:
    publisher = node.create_publisher(BatteryState, 'battery_state', image_qos('reliable'))
    return lambda: publisher.publish(BatteryState(percentage=float('nan')))


def publish_temperature(node: Node) -> Callable[[], None]:
    publisher = node.create_publisher(Temperature, 'temperature', image_qos('reliable'))
    message = Temperature(temperature=95.0)
    message.header.frame_id = 'motor'
    return lambda: publisher.publish(message)


def test_a_temperature_topic_is_a_zone(graph: Graph, toy_bundle: Bundle) -> None:
    setup = Setup(graph, toy_bundle, **HOT)
    setup.reach('2')
    publish = publish_temperature(setup.probe)
    wait_until(lambda: (publish(), setup.level() == '0')[1], 'level 0')
    wait_until(lambda: 'motor' in setup.told()[1])


def test_an_unknown_battery_is_no_reason_to_do_anything(graph: Graph, toy_bundle: Bundle) -> None:
    setup = Setup(graph, toy_bundle)
    publish = publish_battery(setup.probe)
    setup.reach('2')
    for _ in range(10):
        publish()
        assert setup.level() == '2'


def test_without_a_detector_the_controller_waits_and_says_so(
    graph: Graph, toy_bundle: Bundle
) -> None:
    heard: list[DiagnosticArray] = []
    probe = Probe()
    probe.create_subscription(DiagnosticArray, 'controller/decision', heard.append, OUTPUT)
    graph.add(probe)
    overrides = [Parameter('model', value=str(toy_bundle.path))]
    graph.add(ControllerNode(fake_sampler, parameter_overrides=overrides))
    wait_until(lambda: heard)
    assert 'the detector is not there' in heard[-1].status[0].message


@pytest.mark.parametrize('content', ['levels: 3', 'levels: [', 'levels:\n- {depth: base}', '- 1'])
def test_a_corrupt_profile_is_refused_in_one_sentence(
    graph: Graph, toy_bundle: Bundle, tmp_path: Path, content: str
) -> None:
    file = tmp_path / 'costs.yaml'
    file.write_text(content)
    values = {'model': str(toy_bundle.path), 'profile': str(file)}
    parameters = [Parameter(name, value=one) for name, one in values.items()]
    with pytest.raises(ValueError, match='costs.yaml') as caught:
        ControllerNode(fake_sampler, parameter_overrides=parameters)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ('overrides', 'words'),
    [
        ({'mode': 'fast'}, 'mode'),
        ({'temperature_soft_c': 90.0, 'temperature_hard_c': 80.0}, 'soft limit'),
        ({'model': '/nowhere'}, 'nowhere'),
        ({'profile': '/nowhere.yaml'}, 'nowhere'),
        ({'calibrate_on_start': True}, 'needs profile'),
        ({'zone_limits': ['gpu']}, 'write zone:soft:hard'),
    ],
)
def test_a_wrong_start_value_is_refused(
    graph: Graph, toy_bundle: Bundle, overrides: dict[str, Any], words: str
) -> None:
    values = {'model': str(toy_bundle.path), **overrides}
    parameters = [Parameter(name, value=one) for name, one in values.items()]
    with pytest.raises((ValueError, OSError), match=words):
        ControllerNode(fake_sampler, parameter_overrides=parameters)

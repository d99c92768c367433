"""`anydepth benchmark --node`: its arithmetic, its image, its isolation, and one whole run."""

from __future__ import annotations

from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys
from xml.etree import ElementTree

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import pytest
import rclpy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray

from anydepth_core.export.bundle import Bundle
from anydepth_ros.benchmark import run
from anydepth_ros.benchmark.camera import CameraProcess
from anydepth_ros.benchmark.child import NAMESPACE
from anydepth_ros.benchmark.figures import (
    age_bound,
    AgeBound,
    answered,
    counted,
    growth_percent,
    Load,
    RunFigures,
    Sent,
    Spread,
    spread,
    summarise,
    time_per_image_ms,
)
from anydepth_ros.benchmark.frame import image_message, picture, with_stamp
from anydepth_ros.benchmark.listener import DEEP, ListenerNode
from anydepth_ros.benchmark.pacing import play
from anydepth_ros.benchmark.process import cpu_seconds, resident_mb
from anydepth_ros.benchmark.settings import ENCODINGS, NodeSettings
from anydepth_ros.benchmark.table import format_table, to_json
from anydepth_ros.benchmark.transport import keep_local, PROFILE, write_local_profile
from anydepth_ros.conversions import stamp_ns, stats_message
from anydepth_ros.diagnostics import EngineState, statuses
from anydepth_ros.images import image_to_bgr
from anydepth_ros.processes import NodeProcesses
from anydepth_ros.shipped import shipped_file
from tests.anydepth_core.support.toy_bundle import picture as toy_picture
from tests.anydepth_ros.conftest import Graph, wait_until

DDS = {'dds': 'http://www.eprosima.com'}


class Clock:
    """A clock that only sleeping and working move."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[float] = []

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def play(self, rate_hz: float, seconds: float, work_s: list[float]) -> list[float]:
        """Return when images were sent, counted from the start."""

        def send() -> None:
            self.sent.append(self.now - 100.0)
            self.now += work_s[len(self.sent) - 1] if len(self.sent) <= len(work_s) else 0.0

        play(send, rate_hz, seconds, self.read, self.sleep)
        return self.sent


def test_images_are_sent_in_fixed_slots_whatever_sending_takes() -> None:
    assert Clock().play(10.0, 0.5, [0.05, 0.02]) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_a_camera_that_was_held_up_makes_nothing_up_for() -> None:
    assert Clock().play(10.0, 1.0, [0.0, 0.36]) == pytest.approx(
        [0.0, 0.1, 0.46, 0.5, 0.6, 0.7, 0.8, 0.9]
    )


@pytest.mark.parametrize('stamp', [0, 1_700_000_000_123_456_789, 2_000_000_000_999_999_999])
def test_a_serialised_image_gets_another_stamp_and_keeps_the_rest(stamp: int) -> None:
    message = image_message(picture((7, 5)), 'bgr8')
    serialised = bytearray(serialize_message(message))
    sent = deserialize_message(with_stamp(serialised, stamp), Image)
    assert stamp_ns(sent.header) == stamp
    sent.header.stamp = message.header.stamp
    assert sent == message


def test_big_endian_messages_are_refused() -> None:
    with pytest.raises(ValueError, match='big endian'):
        with_stamp(bytearray(12), 0)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_the_camera_sends_the_picture_in_every_encoding(encoding: str) -> None:
    image_bgr = toy_picture((0, 1, 2))
    if encoding == 'mono8':
        image_bgr[:] = image_bgr[:, :, :1]
    message = image_message(picture((96, 96), image_bgr), encoding)
    assert (message.encoding, message.width, message.step) == (
        encoding,
        96,
        len(message.data) / 96,
    )
    np.testing.assert_array_equal(image_to_bgr(message), image_bgr)


def test_a_picture_is_scaled_to_width_and_height() -> None:
    assert picture((64, 48), toy_picture()).shape == picture((64, 48)).shape == (48, 64, 3)


def test_memory_and_processor_time_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / '12').mkdir()
    (tmp_path / '12' / 'statm').write_text('9000 500 100 1 0 300 0\n')
    fields = ['S', *(['7'] * 10), '250', '50', *(['7'] * 30)]
    (tmp_path / '12' / 'stat').write_text(f'12 (a b) c) {" ".join(fields)}\n')
    assert resident_mb(12, tmp_path) == 500 * os.sysconf('SC_PAGE_SIZE') / 1e6
    assert cpu_seconds(12, tmp_path) == 300 / os.sysconf('SC_CLK_TCK')


def stats(**values: float) -> dict[str, str]:
    """Return the stats of a frame as they arrive: text."""
    figures = {'total_ms': 30.0, 'inference_ms': 20.0, 'overhead_ms': 10.0, 'wait_ms': 6.0}
    figures |= {'age_ms': 33.0, 'received_age_ms': 3.0, **values}
    return {'depth': '11-1', **{name: f'{value:.3f}' for name, value in figures.items()}}


def test_only_images_of_the_run_with_stats_and_detections_are_joined() -> None:
    heard = {1: stats(), 2: stats(), 3: stats(age_ms=40.0), 9: stats()}
    frames = answered([2, 3, 4, 5], heard, {2: 1, 3: 0, 4: 2, 9: 1})
    assert [frame['age_ms'] for frame in frames] == [33.0, 40.0]
    assert frames[0]['overhead_without_wait_ms'] == 4.0


def test_percentiles_are_those_of_numpy_and_none_without_values() -> None:
    values = [5.0, 1.0, 2.0, 11.0]
    assert spread(values) == Spread(3.5, float(np.percentile(values, 95)), 11.0)
    assert spread([]) is None


def test_counters_count_from_the_end_of_the_warm_up() -> None:
    before, after = {'dropped': '2'}, {'dropped': '5', 'errors': '1'}
    assert counted(before, after) == {'dropped': 3, 'too_old': None, 'errors': 1}


def test_an_image_may_be_one_inference_one_period_and_the_overhead_old() -> None:
    frames = [
        {'total_ms': 30.0, 'wait_ms': 6.0, 'age_ms': age_ms} for age_ms in (33.0, 34.0, 35.5, 34.5)
    ]
    assert age_bound(frames, 10.0) == AgeBound(34.0, spread([-1.0, 0.0, 1.5, 0.5]))
    assert age_bound(frames[:1], 10.0) == AgeBound(34.0, Spread(-1.0, -1.0, -1.0))
    assert age_bound([{'age_ms': 3.0}], 10.0) is None


def test_the_time_per_image_leaves_waiting_out() -> None:
    heard = [stats(), stats(total_ms=40.0), {'total_ms': '50.0'}, {'depth': '11-1'}]
    assert time_per_image_ms(heard) == 34.0
    assert time_per_image_ms([]) is None


def figures(**changes: object) -> RunFigures:
    """Return the figures of a run: five sent, one waited in vain, one was lost."""
    result = summarise(
        size=(640, 480),
        sent=Sent(10.0, 0.5, (1, 2, 3, 4, 5), 0),
        stats={1: stats(), 2: stats(age_ms=50.0), 4: stats()},
        detections={1: 2, 2: 4, 4: 0},
        counts={'dropped': 1, 'too_old': None, 'errors': 0},
        take_ms=[1.0, 2.0, 3.0],
        load=Load(100.0, 101.0, 0.5),
    )
    return replace(result, **changes)  # type: ignore[arg-type]


def test_every_image_sent_is_accounted_for() -> None:
    found = figures()
    assert (found.sent, found.received, found.published, found.lost) == (5, 4, 3, 1)
    assert (found.period_ms, found.received_period_ms) == (100.0, 125.0)
    assert (found.detections_mean, found.detections_max) == (2.0, 4)
    assert found.take_ms == Spread(2.0, 2.9, 3.0)
    assert growth_percent(found.load) == pytest.approx(1.0)
    assert growth_percent(Load(None, 101.0, 0.5)) is None


def test_a_run_without_an_answer_has_figures_too() -> None:
    found = summarise(
        (640, 480), Sent(10.0, 1.0, (), 3), {}, {}, counted({}, {}), [], Load(None, 1.0, 0.0)
    )
    assert (found.sent, found.lost, found.refused, found.bound) == (0, 0, 3, None)
    assert 'age when published' in format_table([found])


def test_the_table_has_a_column_per_run_and_a_dash_for_what_is_unknown() -> None:
    table = format_table([figures(), figures(size=(1280, 720), bound=None)])
    rows = {line[:38].strip(): line[38:].split() for line in table.splitlines()}
    assert rows['images'] == ['640x480', '1280x720']
    assert rows['dropped as too old'] == ['-', '-']
    assert rows['age when published'][:5] == ['33.00', '/', '48.30', '/', '50.00']
    assert rows['age beyond it'][-1] == '-'
    assert len({len(line) for line in table.splitlines()}) == 1


def test_the_json_has_settings_and_all_figures() -> None:
    content = json.loads(to_json(NodeSettings(), 'toy (orig)', 'rmw', [figures()]))
    assert content['settings']['rate'] == 30.0 and content['model'] == 'toy (orig)'
    (first,) = content['runs']
    assert first['steps']['age_ms'] == {'p50': 33.0, 'p95': pytest.approx(48.3), 'worst': 50.0}
    assert first['memory_growth_percent'] == pytest.approx(1.0)
    assert first['steps']['publish_ms'] is None


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'image_size': '1280'}, "--image-size '1280'"),
        ({'image_size': '640x480,0x3'}, 'width x height'),
        ({'rate': 0.0}, '--rate 0.0'),
        ({'overload': -1.0}, '--overload -1.0'),
        ({'seconds': float('nan')}, '--seconds nan'),
        ({'detections': 0}, '--detections 0'),
        ({'reliability': 'perhaps'}, 'reliable, best_effort'),
        ({'encoding': 'rgb16'}, 'bgr8, rgb8'),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        NodeSettings(**values)  # type: ignore[arg-type]
    assert '\n' not in str(refusal.value)


def test_a_level_is_given_to_the_node_as_a_number() -> None:
    assert NodeSettings(depth='2').depth_parameter() == 2
    assert NodeSettings(depth='1111').depth_parameter() == '1111'
    assert NodeSettings(image_size='64x48,32x16').sizes() == [(64, 48), (32, 16)]


def transports(path: Path) -> dict[str, ElementTree.Element]:
    """Return the transport descriptors of a profile that its participant uses, by type."""
    root = ElementTree.parse(path).getroot()
    (participant,) = root.iterfind('.//dds:participant[@is_default_profile="true"]', DDS)
    assert participant.findtext('.//dds:useBuiltinTransports', None, DDS) == 'false'
    used = [
        element.text
        for element in participant.iterfind('.//dds:userTransports/dds:transport_id', DDS)
    ]
    found = root.findall('.//dds:transport_descriptor', DDS)
    assert used == [one.findtext('dds:transport_id', None, DDS) for one in found]
    return {str(one.findtext('dds:type', None, DDS)): one for one in found}


def test_the_shipped_profile_carries_large_images_and_leaves_the_network_open() -> None:
    found = transports(shipped_file(PROFILE))
    assert set(found) == {'SHM', 'UDPv4'}
    assert int(found['SHM'].findtext('dds:segment_size', '', DDS)) == 64 * 2**20
    assert int(found['SHM'].findtext('dds:maxMessageSize', '', DDS)) == 16 * 2**20
    assert 'interface' not in shipped_file(PROFILE).read_text().partition('-->')[2].lower()
    for variable in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        assert variable in shipped_file(PROFILE).read_text()


def test_the_profile_that_is_used_here_stays_on_this_machine(tmp_path: Path) -> None:
    write_local_profile(tmp_path / 'profile.xml')
    found = transports(tmp_path / 'profile.xml')
    assert int(found['SHM'].findtext('dds:segment_size', '', DDS)) == 64 * 2**20
    addresses = found['UDPv4'].findall('dds:interfaceWhiteList/dds:address', DDS)
    assert [address.text for address in addresses] == ['127.0.0.1']


def test_the_benchmark_stays_on_this_machine_whatever_the_user_has_set() -> None:
    environment = {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
        'ROS_STATIC_PEERS': '10.0.0.7',
        'FASTDDS_DEFAULT_PROFILES_FILE': 'mine.xml',
        'FASTRTPS_DEFAULT_PROFILES_FILE': 'mine.xml',
        'ROS_DOMAIN_ID': '7',
    }
    keep_local(environment, None)
    assert environment == {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_DOMAIN_ID': '7'}


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [
        ('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
        ('', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_each_distribution_finds_the_profile(distribution: str, variable: str) -> None:
    environment = {'ROS_DISTRO': distribution}
    keep_local(environment, Path('profile.xml'))
    assert {name for name in environment if 'PROFILES' in name} == {variable}
    assert environment[variable] == 'profile.xml'


def test_a_file_that_is_not_shipped_is_named() -> None:
    with pytest.raises(FileNotFoundError, match='config/none.xml'):
        shipped_file('config/none.xml')


def test_without_ros_the_benchmark_says_so(
    monkeypatch: pytest.MonkeyPatch, toy_bundle: Bundle
) -> None:
    monkeypatch.setattr(run.os, 'environ', {})
    monkeypatch.setitem(sys.modules, 'anydepth_ros.benchmark.session', None)
    with pytest.raises(RuntimeError, match='--node needs ROS 2 .* source its setup file'):
        run.benchmark_node(toy_bundle, NodeSettings(), None)


def test_a_depth_that_the_model_has_not_is_refused_before_anything_starts(
    toy_bundle: Bundle,
) -> None:
    with pytest.raises(ValueError, match='deep'):
        run.benchmark_node(toy_bundle, NodeSettings(depth='deep'), None)


def diagnostics(building: str = '', error: str = '') -> DiagnosticArray:
    """Return what the detector says about its engine."""
    ready, under_way = ('11-1',), (building,) if building else ()
    engine = EngineState('active', 'onnxruntime', 'toy', ready, under_way, (), error)
    return DiagnosticArray(status=statuses('detector', 'robot', engine, []))


def test_the_listener_hears_answers_builds_and_failures(graph: Graph) -> None:
    listener = ListenerNode()
    graph.add(listener)
    speaker = graph.add(rclpy.create_node('speaker', namespace=NAMESPACE))
    said = {
        name: speaker.create_publisher(kind, name, DEEP)
        for name, kind in (
            ('detections', Detection2DArray),
            ('stats', DiagnosticArray),
            ('diagnostics', DiagnosticArray),
        )
    }
    wait_until(lambda: all(one.get_subscription_count() for one in said.values()), 'a match')
    header = Header()
    header.stamp.sec = 3
    said['detections'].publish(Detection2DArray(header=header, detections=[Detection2D()] * 2))
    said['stats'].publish(stats_message(header, 'toy', {'dropped': 4}))
    wait_until(lambda: listener.heard == 2, 'detections and stats')
    assert listener.detections == {3_000_000_000: 2}
    assert listener.stats == {3_000_000_000: {'dropped': '4'}} and listener.error == ''
    for _ in range(2):
        said['diagnostics'].publish(diagnostics())
    wait_until(lambda: listener.idle_reports == 2, 'two idle reports')
    said['diagnostics'].publish(diagnostics(building='00-0'))
    wait_until(lambda: listener.idle_reports == 0, 'a build')
    assert listener.failure == ''
    said['diagnostics'].publish(diagnostics(error='cannot configure: no such model'))
    wait_until(lambda: listener.failure == 'cannot configure: no such model', 'a failure')


def test_a_camera_that_ends_is_noticed(tmp_path: Path) -> None:
    with NodeProcesses() as processes:
        camera = CameraProcess(processes, tmp_path / 'missing.cdr', 'reliable')
        with pytest.raises(RuntimeError, match='the camera process has ended'):
            camera.play(10.0, 0.1, lambda: None)


def test_the_running_node_is_measured(toy_bundle: Bundle, tmp_path: Path) -> None:
    output = tmp_path / 'figures.json'
    command = [sys.executable, '-m', 'anydepth_core.cli', 'benchmark', str(toy_bundle.path)]
    command += ['--node', '--image-size', '160x120', '--seconds', '1', '--output', str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 'age when published' in done.stdout
    content = json.loads(output.read_text())
    (found,) = content['runs']
    assert content['model'] == 'toy (orig)' and found['size'] == [160, 120]
    assert 0 < found['published'] <= found['received'] <= found['sent'] <= 30
    assert found['lost'] == found['sent'] - found['received']
    assert all(found['steps'].values()), found['steps']
    steps = {name: spread['p50'] for name, spread in found['steps'].items()}
    assert 0 < steps['inference_ms'] < steps['total_ms'] < steps['age_ms'] < 1000
    assert found['take_ms']['p50'] > 0 and found['load']['memory_end_mb'] > 20

"""Detecting on a recorded bag: every image answered, nothing half made, one sentence per mistake."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys

import cv2
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.highlevel import AnyReader
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection2DArray, LabelInfo
import yaml

from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.pipeline import load_pipeline
from anydepth_ros.bag.command import main
from anydepth_ros.bag.definitions import Definitions
from anydepth_ros.conversions import detections_to_message, message_to_detections, stats_values
from tests.anydepth_core.support.toy_bundle import picture
from tests.anydepth_ros.conftest import wait_until

Message = Image | CompressedImage | String
Entry = tuple[str, Message | bytes, int]
Record = tuple[str, int, bytes]

TYPES = {
    Image: 'sensor_msgs/msg/Image',
    CompressedImage: 'sensor_msgs/msg/CompressedImage',
    String: 'std_msgs/msg/String',
}
PLUGINS = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
START = 1_700_000_000_000_000_000
PICTURES = (
    picture((0, 0, 0)),
    picture(),
    picture((1, 2, 1), (2, 0, 2)),
    picture((0, 1, 2), size=(96, 160)),
)


def header_of(index: int) -> Header:
    """A header whose stamp is earlier than the bag time, as recording takes a while."""
    header = Header(frame_id=f'camera_{index}')
    header.stamp.sec, header.stamp.nanosec = 1_600_000_000 + index, 7 * index
    return header


def raw(image_bgr: np.ndarray, index: int = 0, padding: int = 0) -> Image:
    height, width = image_bgr.shape[:2]
    rows = np.full((height, 3 * width + padding), 99, np.uint8)
    rows[:, : 3 * width] = image_bgr[..., ::-1].reshape(height, 3 * width)
    return Image(
        header=header_of(index),
        height=height,
        width=width,
        encoding='rgb8',
        step=3 * width + padding,
        data=rows.tobytes(),
    )


def padded(image_bgr: np.ndarray, index: int = 0) -> Image:
    return raw(image_bgr, index, padding=5)


def jpeg(image_bgr: np.ndarray, index: int = 0) -> CompressedImage:
    data = cv2.imencode('.jpg', image_bgr)[1].tobytes()
    return CompressedImage(header=header_of(index), format='rgb8; jpeg compressed bgr8', data=data)


def write_bag(
    path: Path,
    entries: Sequence[Entry],
    storage: str = 'sqlite3',
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a bag; bytes are taken for a broken message of the type first seen on the topic."""
    definitions = Definitions()
    types = {topic: TYPES[type(one)] for topic, one, _ in entries if not isinstance(one, bytes)}
    writer = Writer(path, version=9, storage_plugin=PLUGINS[storage])
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, msgtype in types.items():
            known = definitions.of(msgtype)
            connections[topic] = writer.add_connection(
                topic, msgtype, msgdef=known.text, rihs01=known.type_hash
            )
        for topic, message, time_ns in entries:
            data = message if isinstance(message, bytes) else serialize_message(message)
            writer.write(connections[topic], time_ns, data)
    return path


def camera_entries(make: type | object = raw, topic: str = '/camera/image_raw') -> list[Entry]:
    return [
        (topic, make(image, index), START + 100_000_000 * index)  # type: ignore[operator]
        for index, image in enumerate(PICTURES)
    ]


def records(path: Path) -> list[Record]:
    with Reader(path) as reader:
        return [(one.topic, time_ns, bytes(data)) for one, time_ns, data in reader.messages()]


def answers(path: Path, topic: str = '/camera/detections') -> list[tuple[int, Detection2DArray]]:
    return [
        (time_ns, deserialize_message(data, Detection2DArray))
        for name, time_ns, data in records(path)
        if name == topic
    ]


def stats_of(path: Path, topic: str = '/camera/stats') -> list[DiagnosticArray]:
    return [
        deserialize_message(data, DiagnosticArray)
        for name, _, data in records(path)
        if name == topic
    ]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / 'bag', camera_entries())


def run(bag: Path, output: Path, bundle: Bundle, *options: str) -> int:
    return main([str(bag), '--output', str(output), '--model', str(bundle.path), *options])


@pytest.mark.parametrize('storage', PLUGINS)
@pytest.mark.parametrize('make', [raw, padded, jpeg])
def test_every_image_is_answered_in_order(
    tmp_path: Path, toy_bundle: Bundle, make: object, storage: str
) -> None:
    entries = camera_entries(make)
    bag = write_bag(tmp_path / 'bag', entries, storage)
    assert run(bag, tmp_path / 'out', toy_bundle) == 0
    found = answers(tmp_path / 'out')
    assert [time_ns for time_ns, _ in found] == [time_ns for *_, time_ns in entries]
    for index, (_, message) in enumerate(found):
        assert message.header == header_of(index)
        assert all(one.header == header_of(index) for one in message.detections)
    assert [len(message.detections) for _, message in found] == [1, 0, 2, 1]
    assert list((tmp_path / 'out').glob(f'*.{"mcap" if storage == "mcap" else "db3"}'))


def test_the_detections_are_those_of_the_pipeline(
    bag: Path, tmp_path: Path, toy_bundle: Bundle
) -> None:
    assert run(bag, tmp_path / 'out', toy_bundle, '--depth', 'base') == 0
    pipeline = load_pipeline(toy_bundle.path)
    for index, (_, message) in enumerate(answers(tmp_path / 'out')):
        expected, _ = pipeline(PICTURES[index], 'base')
        assert message == detections_to_message(expected, header_of(index))


def test_both_storages_give_the_same_detections(tmp_path: Path, toy_bundle: Bundle) -> None:
    for storage in PLUGINS:
        bag = write_bag(tmp_path / f'bag_{storage}', camera_entries(jpeg), storage)
        assert run(bag, tmp_path / f'out_{storage}', toy_bundle) == 0
    assert answers(tmp_path / 'out_mcap') == answers(tmp_path / 'out_sqlite3')


def test_the_storage_can_be_chosen(bag: Path, tmp_path: Path, toy_bundle: Bundle) -> None:
    assert run(bag, tmp_path / 'out', toy_bundle, '--storage', 'mcap') == 0
    assert (tmp_path / 'out' / 'out.mcap').is_file()
    assert len(answers(tmp_path / 'out')) == len(PICTURES)


@pytest.mark.parametrize('compression', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_compressed_bag_is_read(
    tmp_path: Path, toy_bundle: Bundle, compression: CompressionMode
) -> None:
    bag = write_bag(tmp_path / 'bag', camera_entries(), 'sqlite3', compression)
    assert run(bag, tmp_path / 'out', toy_bundle) == 0
    assert len(answers(tmp_path / 'out')) == len(PICTURES)


@pytest.mark.parametrize(('storage', 'file'), [('mcap', 'bag.mcap'), ('sqlite3', 'bag.db3')])
def test_a_single_file_is_a_bag(
    tmp_path: Path, toy_bundle: Bundle, storage: str, file: str
) -> None:
    bag = write_bag(tmp_path / 'bag', camera_entries(), storage)
    assert run(bag / file, tmp_path / 'out', toy_bundle, '--copy') == 0
    assert len(answers(tmp_path / 'out')) == len(PICTURES)
    assert (tmp_path / 'out' / file.replace('bag', 'out')).is_file()


@pytest.mark.parametrize('storage', PLUGINS)
def test_the_output_describes_its_messages(
    tmp_path: Path, toy_bundle: Bundle, storage: str
) -> None:
    bag = write_bag(tmp_path / 'bag', camera_entries(), storage)
    assert run(bag, tmp_path / 'out', toy_bundle) == 0
    with AnyReader([tmp_path / 'out']) as reader:  # knows only the definitions in the bag
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if connection.topic == '/camera/detections':
                expected = deserialize_message(data, Detection2DArray)
                assert len(message.detections) == len(expected.detections)  # type: ignore
                for mine, theirs in zip(message.detections, expected.detections):  # type: ignore
                    assert mine.bbox.center.position.x == theirs.bbox.center.position.x
                    assert mine.results[0].hypothesis.score == theirs.results[0].hypothesis.score


def test_the_metadata_is_what_players_of_humble_and_later_need(
    bag: Path, tmp_path: Path, toy_bundle: Bundle
) -> None:
    assert run(bag, tmp_path / 'out', toy_bundle) == 0
    text = (tmp_path / 'out' / 'metadata.yaml').read_text(encoding='utf-8')
    facts = yaml.safe_load(text)['rosbag2_bagfile_information']
    topics = {one['topic_metadata']['name']: one for one in facts['topics_with_message_count']}
    assert facts['version'] == 8  # Humble refuses 9
    assert facts['storage_identifier'] == 'sqlite3'
    assert facts['custom_data']['anydepth_depth'] == '11-1@96x96'
    assert {name: one['message_count'] for name, one in topics.items()} == {
        '/camera/detections': 4,
        '/camera/label_info': 1,
        '/camera/stats': 4,
    }
    labels = topics['/camera/label_info']['topic_metadata']
    assert labels['serialization_format'] == 'cdr'
    (qos,) = yaml.safe_load(labels['offered_qos_profiles'])
    transient_local, is_reliable = 1, 1
    assert (qos['durability'], qos['reliability']) == (transient_local, is_reliable)


def test_labels_come_first_and_once(bag: Path, tmp_path: Path, toy_bundle: Bundle) -> None:
    assert run(bag, tmp_path / 'out', toy_bundle, '--confidence-threshold', '0.5') == 0
    topic, time_ns, data = records(tmp_path / 'out')[0]
    labels = deserialize_message(data, LabelInfo)
    assert (topic, time_ns) == ('/camera/label_info', START)
    assert [one.class_name for one in labels.class_map] == ['red', 'green', 'blue']
    assert labels.threshold == 0.5


def test_stats_join_with_detections_and_name_the_depth(
    bag: Path, tmp_path: Path, toy_bundle: Bundle
) -> None:
    assert run(bag, tmp_path / 'out', toy_bundle, '--depth', '0') == 0
    stats = stats_of(tmp_path / 'out')
    assert [one.header for one in stats] == [header_of(index) for index in range(4)]
    values = stats_values(stats[2])
    assert (values['depth'], values['level'], values['image_size']) == ('00-0', '0', '64x64')
    assert (values['detections'], values['errors']) == ('2', '0')
    assert float(values['total_ms']) >= float(values['inference_ms']) > 0


def test_classes_can_be_chosen_and_named(bag: Path, tmp_path: Path, toy_bundle: Bundle) -> None:
    options = ('--classes', 'green', '2', '--class-id-format', 'name')
    assert run(bag, tmp_path / 'out', toy_bundle, *options) == 0
    found = [
        [one.results[0].hypothesis.class_id for one in message.detections]
        for _, message in answers(tmp_path / 'out')
    ]
    assert [sorted(one) for one in found] == [[], [], ['blue', 'green'], ['blue']]


def test_max_detections_is_kept(bag: Path, tmp_path: Path, toy_bundle: Bundle) -> None:
    assert run(bag, tmp_path / 'out', toy_bundle, '--max-detections', '1') == 0
    assert [len(m.detections) for _, m in answers(tmp_path / 'out')] == [1, 0, 1, 1]


def test_a_part_of_the_bag_can_be_chosen(bag: Path, tmp_path: Path, toy_bundle: Bundle) -> None:
    options = ('--start', '0.1', '--seconds', '0.15')
    assert run(bag, tmp_path / 'out', toy_bundle, *options) == 0
    times = [time_ns for time_ns, _ in answers(tmp_path / 'out')]
    assert times == [START + 100_000_000, START + 200_000_000]


@pytest.mark.parametrize('storage', PLUGINS)
def test_copies_are_identical(tmp_path: Path, toy_bundle: Bundle, storage: str) -> None:
    words = [('/words', String(data=f'{i}'), START - 5 + 90_000_000 * i) for i in range(5)]
    entries = sorted([*words, *camera_entries(jpeg)], key=lambda entry: entry[2])
    bag = write_bag(tmp_path / 'bag', entries, storage)
    assert run(bag, tmp_path / 'out', toy_bundle, '--copy') == 0
    found = records(tmp_path / 'out')
    assert [one for one in found if one[0] in ('/words', '/camera/image_raw')] == records(bag)
    assert len(answers(tmp_path / 'out')) == len(PICTURES)
    with Reader(bag) as before, Reader(tmp_path / 'out') as after:
        kept = {one.topic: (one.msgtype, one.msgdef, one.digest) for one in after.connections}
        for one in before.connections:
            assert kept[one.topic] == (one.msgtype, one.msgdef, one.digest)


def test_without_copy_only_the_answers_are_written(
    bag: Path, tmp_path: Path, toy_bundle: Bundle
) -> None:
    assert run(bag, tmp_path / 'out', toy_bundle) == 0
    assert {topic for topic, *_ in records(tmp_path / 'out')} == {
        '/camera/detections',
        '/camera/label_info',
        '/camera/stats',
    }


def test_each_camera_is_answered_beside_its_images(tmp_path: Path, toy_bundle: Bundle) -> None:
    front, rear = '/front/image_raw', '/rear/image_raw/compressed'
    entries = [*camera_entries(topic=front), *camera_entries(jpeg, rear)]
    bag = write_bag(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[2]))
    assert run(bag, tmp_path / 'out', toy_bundle, '--topic', front, '--topic', rear) == 0
    for topic in ('/front/detections', '/rear/detections'):
        assert [len(m.detections) for _, m in answers(tmp_path / 'out', topic)] == [1, 0, 2, 1]


def test_cameras_of_one_namespace_do_not_mix(tmp_path: Path, toy_bundle: Bundle) -> None:
    left, right = '/stereo/left', '/stereo/right'
    entries: list[Entry] = [
        (left, raw(PICTURES[0]), START),
        (right, raw(PICTURES[2]), START + 1),
        ('/stereo/unused', raw(PICTURES[2]), START + 2),
    ]
    bag = write_bag(tmp_path / 'bag', entries)
    assert run(bag, tmp_path / 'out', toy_bundle, '--topic', left, '--topic', right) == 0
    found = {topic: answers(tmp_path / 'out', f'{topic}/detections') for topic in (left, right)}
    assert [len(found[topic][0][1].detections) for topic in (left, right)] == [1, 2]


def test_unreadable_images_are_counted_and_the_others_answered(
    tmp_path: Path, toy_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = raw(PICTURES[0], 1)
    cut.data = cut.data[:100]
    odd = raw(PICTURES[0], 3)
    odd.encoding = 'plaid'
    broken: list[Message | bytes] = [cut, b'\x00\x01\x00\x00no image', odd, b'']
    entries: list[Entry] = [('/camera/image_raw', raw(PICTURES[0]), START)]
    entries += [('/camera/image_raw', one, START + i) for i, one in enumerate(broken, 1)]
    entries += [('/camera/image_raw', raw(PICTURES[2], 9), START + 9)]
    bag = write_bag(tmp_path / 'bag', entries)
    assert run(bag, tmp_path / 'out', toy_bundle) == 1
    assert [len(m.detections) for _, m in answers(tmp_path / 'out')] == [1, 2]
    stats = stats_of(tmp_path / 'out')
    assert [one.status[0].message == 'ok' for one in stats] == [True, *4 * [False], True]
    assert stats[1].header == cut.header
    assert 'truncated' in stats[1].status[0].message
    assert stats_values(stats[-1])['errors'] == '4'
    printed = capsys.readouterr()
    assert printed.out.startswith('6 images, 3 detections at depth 11-1@96x96, ')
    assert '4 of them could not be read: ' in printed.err
    assert 'plaid' in printed.err + stats[3].status[0].message


def test_unreadable_compressed_images_are_counted(tmp_path: Path, toy_bundle: Bundle) -> None:
    broken = jpeg(PICTURES[0], 1)
    broken.data = bytes(broken.data)[:40]
    topic = '/camera/image_raw/compressed'
    entries: list[Entry] = [(topic, broken, START), (topic, jpeg(PICTURES[0], 2), START + 1)]
    bag = write_bag(tmp_path / 'bag', entries)
    assert run(bag, tmp_path / 'out', toy_bundle) == 1
    assert [message.header for _, message in answers(tmp_path / 'out')] == [header_of(2)]


def refused(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: Sequence[str | Path]
) -> str:
    """Run with arguments that are wrong; return the one line that says so."""
    before = sorted(folder.rglob('*'))
    assert main([str(one) for one in arguments]) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith('detect_bag: ')]
    assert len(lines) == 1 and printed.out == ''
    assert 'Traceback' not in printed.err
    assert sorted(folder.rglob('*')) == before
    return lines[0]


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (['--depth', '7'], 'the ladder has the levels 0 (cheapest) to 2 (dearest)'),
        (['--depth', 'deep'], "'full', 'base'"),
        (['--classes', 'pink'], 'the model has red, green, blue (0 to 2)'),
        (['--confidence-threshold', '2'], 'confidence'),
        (['--max-detections', '0'], 'max_detections'),
        (['--topic', '/rear/image_raw'], 'use one of /camera/image_raw'),
        (['--start', '60'], 'has no image in this range: it lasts 0.3 s'),
        (['--model', 'nowhere'], 'nowhere'),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(
    bag: Path,
    tmp_path: Path,
    toy_bundle: Bundle,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sentence: str,
) -> None:
    arguments = [bag, '--output', tmp_path / 'out', '--model', toy_bundle.path, *options]
    assert sentence in refused(capsys, tmp_path, arguments)


def test_an_unusable_bag_is_refused_in_one_sentence(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ['--output', tmp_path / 'out']
    assert 'does not exist' in refused(capsys, tmp_path, [tmp_path / 'none', *output])
    (tmp_path / 'empty').mkdir()
    assert 'ros2 bag reindex' in refused(capsys, tmp_path, [tmp_path / 'empty', *output])
    words = write_bag(tmp_path / 'words', [('/words', String(), START)])
    assert '/words (std_msgs/msg/String)' in refused(capsys, tmp_path, [words, *output])
    entries = [*camera_entries(topic='/a/image'), *camera_entries(topic='/b/image')]
    several = write_bag(tmp_path / 'several', entries)
    line = refused(capsys, tmp_path, [several, *output])
    assert 'choose with --topic: /a/image, /b/image' in line
    (bag / 'metadata.yaml').write_text('rosbag2_bagfile_information: 3')
    assert 'cannot be read as a rosbag2' in refused(capsys, tmp_path, [bag, *output])


@pytest.mark.parametrize('storage', PLUGINS)
@pytest.mark.parametrize('share', [0.0, 0.5, 0.9])
def test_a_truncated_bag_is_refused_in_one_sentence(
    tmp_path: Path,
    toy_bundle: Bundle,
    capsys: pytest.CaptureFixture[str],
    storage: str,
    share: float,
) -> None:
    bag = write_bag(tmp_path / 'bag', 5 * camera_entries(), storage)
    (file,) = [one for one in bag.iterdir() if one.name != 'metadata.yaml']
    os.truncate(file, int(share * file.stat().st_size))
    arguments = [bag, '--output', tmp_path / 'out', '--model', toy_bundle.path]
    assert str(bag) in refused(capsys, tmp_path, arguments)


def test_an_output_that_cannot_be_made_is_refused(
    bag: Path, tmp_path: Path, toy_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'there').mkdir()
    arguments = [bag, '--model', toy_bundle.path, '--output']
    assert 'exists already' in refused(capsys, tmp_path, [*arguments, tmp_path / 'there'])
    line = refused(capsys, tmp_path, [*arguments, tmp_path / 'no' / 'out'])
    assert f'{tmp_path / "no"} does not exist' in line


def test_copies_never_mix_with_answers(
    tmp_path: Path, toy_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [*camera_entries(), ('/camera/stats', String(), START)]
    bag = write_bag(tmp_path / 'bag', entries)
    arguments = [bag, '--output', tmp_path / 'out', '--model', toy_bundle.path]
    assert 'has /camera/stats already' in refused(capsys, tmp_path, [*arguments, '--copy'])
    assert main([str(one) for one in arguments]) == 0


def test_without_rosbags_the_error_names_it(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(sys.modules):
        if name.startswith(('rosbags', 'anydepth_ros.bag.')):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'rosbags', None)
    line = refused(capsys, tmp_path, [bag, '--output', tmp_path / 'out'])
    assert line == "detect_bag: rosbags is needed for bags: run `pip install 'rosbags>=0.11' tqdm`"


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, toy_bundle: Bundle, number: signal.Signals
) -> None:
    data = serialize_message(jpeg(PICTURES[0]))
    entries: list[Entry] = [('/camera/image_raw', jpeg(PICTURES[0]), START)]
    entries += [('/camera/image_raw', data, START + i) for i in range(1, 100_000)]
    bag = write_bag(tmp_path / 'bag', entries)
    (tmp_path / 'made').mkdir()
    command = [sys.executable, '-m', 'anydepth_ros.bag.command', str(bag)]
    options = ['--output', str(tmp_path / 'made' / 'out'), '--model', str(toy_bundle.path)]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        wait_until(lambda: list((tmp_path / 'made').glob('.out.*/out/*')), 'the run has begun')
        for _ in range(2):
            process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ''
    assert err.startswith('detect_bag: stopped after ') and err.count('\n') == 1
    assert list((tmp_path / 'made').iterdir()) == []


HASHES = {
    'vision_msgs/msg/Detection2DArray': (
        '214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968'
    ),
    'vision_msgs/msg/LabelInfo': (
        '3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783'
    ),
    'sensor_msgs/msg/Image': 'd31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47',
}


@pytest.mark.parametrize('msgtype', HASHES)
def test_type_hashes_are_those_of_ros(msgtype: str) -> None:
    assert Definitions().of(msgtype).type_hash == f'RIHS01_{HASHES[msgtype]}'


def recorded(msgtype: str, text: str, digest: str = '') -> Connection:
    kind = MessageDefinitionFormat.MSG if text else MessageDefinitionFormat.NONE
    extra = ConnectionExtRosbag2('cdr', [])
    return Connection(1, '/t', msgtype, MessageDefinition(kind, text), digest, 1, extra, None)


def test_a_recorded_definition_is_kept_and_its_hash_completed() -> None:
    msgtype = 'vision_msgs/msg/LabelInfo'
    definitions = Definitions()
    known = definitions.of(msgtype)
    assert definitions.recorded(recorded(msgtype, known.text)) == known
    assert definitions.recorded(recorded(msgtype, '')) == known
    own = definitions.recorded(recorded('my_msgs/msg/Pair', 'float32 a\nmy_msgs/Half b\n', 'x'))
    assert (own.text, own.type_hash) == ('float32 a\nmy_msgs/Half b\n', 'x')


def test_an_unknown_type_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match='source the workspace that has my_msgs$'):
        Definitions().recorded(recorded('my_msgs/msg/Pair', ''))


def test_detections_can_be_read_back_from_the_output(
    bag: Path, tmp_path: Path, toy_bundle: Bundle
) -> None:
    shutil.copytree(bag, tmp_path / 'read_only')
    assert run(tmp_path / 'read_only', tmp_path / 'out', toy_bundle) == 0
    (_, message) = answers(tmp_path / 'out')[0]
    found = message_to_detections(message)
    assert found.labels.tolist() == [0]
    np.testing.assert_allclose(found.boxes_xyxy_px, [[0, 0, 40, 40]], atol=1e-4)

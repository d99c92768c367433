"""Detecting on a recorded bag: every image is answered, in order, with its own header."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray, LabelInfo
import yaml

from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.pipeline import load_pipeline
from anydepth_ros.conversions import detections_to_message, stats_values
from anydepth_ros.topics import STATS_KEYS

highlevel = pytest.importorskip(
    'rosbags.highlevel', reason='bags need rosbags: pip install rosbags'
)
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='bags need rosbags: pip install rosbags')

from tests.anydepth_ros.bags import (  # noqa: E402
    answers,
    as_humble_records,
    camera_entries,
    Entry,
    header_of,
    jpeg,
    Make,
    Message,
    padded,
    PICTURES,
    PLUGINS,
    raw,
    records,
    run,
    START,
    stats_of,
    write_bag,
)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / 'bag', camera_entries())


@pytest.mark.parametrize('storage', PLUGINS)
@pytest.mark.parametrize('make', [raw, padded, jpeg])
def test_every_image_is_answered_in_order(
    tmp_path: Path, toy_bundle: Bundle, make: Make, storage: str
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


@pytest.mark.parametrize('compression', ['FILE', 'MESSAGE'])
def test_a_compressed_bag_is_read(tmp_path: Path, toy_bundle: Bundle, compression: str) -> None:
    bag = write_bag(tmp_path / 'bag', camera_entries(), compression=compression)
    assert run(bag, tmp_path / 'out', toy_bundle) == 0
    assert len(answers(tmp_path / 'out')) == len(PICTURES)


def test_a_bag_of_humble_is_read_and_copied(tmp_path: Path, toy_bundle: Bundle) -> None:
    bag = as_humble_records(write_bag(tmp_path / 'bag', camera_entries()))
    assert run(bag, tmp_path / 'out', toy_bundle, '--copy') == 0
    assert len(answers(tmp_path / 'out')) == len(PICTURES)
    assert [one for one in records(tmp_path / 'out') if 'image' in one[0]] == records(bag)


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
    with highlevel.AnyReader(
        [tmp_path / 'out']
    ) as reader:  # knows only the definitions in the bag
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
    found = [len(message.detections) for _, message in answers(tmp_path / 'out')]
    assert (values['detections'], values['errors']) == (str(found[2]), '0')
    assert float(values['total_ms']) >= float(values['inference_ms']) > 0
    assert list(values) == [key for key in STATS_KEYS if key not in ('age_ms', 'received_age_ms')]


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
    with rosbag2.Reader(bag) as before, rosbag2.Reader(tmp_path / 'out') as after:
        kept = {one.topic: one._replace(id=0, owner=None) for one in after.connections}
        for one in before.connections:
            assert kept[one.topic] == one._replace(id=0, owner=None)


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
    assert stats_values(stats_of(tmp_path / 'out', '/rear/stats')[0])['camera'] == 'rear'


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

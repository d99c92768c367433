"""A bag gives the signals that the node would have had, or one sentence."""

from __future__ import annotations

import math
from pathlib import Path
import sys

import pytest

from anydepth_core.control.recorded_bag import BagTopics, is_bag, load_bag
from anydepth_core.control.signals import Signals

rosbags = pytest.importorskip('rosbags', reason='bags need rosbags: pip install rosbags')

from tests.anydepth_core.support.recorded_bags import (  # noqa: E402
    battery,
    diagnostics,
    Entry,
    PLUGINS,
    stats,
    temperature,
    write_bag,
)


def mission(prefix: str = '', camera: str = '') -> list[Entry]:
    """Two images, and what else is to be heard."""
    figures = f'{prefix}{camera}/stats'
    return [
        (figures, 0.0, stats(2, 31.25)),
        (f'{prefix}/battery_state', 0.01, battery(0.75)),
        (f'{prefix}/temperature', 0.02, temperature(61.5)),
        ('/diagnostics', 0.03, diagnostics('jetson_stats/temp/gpu', '47.5C')),
        ('/diagnostics', 0.04, diagnostics('jetson_stats/power/VDD_IN', Power='12.5W')),
        (figures, 0.05, stats(1, 25.0, dropped=1)),
    ]


@pytest.mark.parametrize('storage', PLUGINS)
@pytest.mark.parametrize(('prefix', 'camera'), [('', ''), ('/robot1', ''), ('/a/b', '/front')])
def test_a_bag_gives_what_the_node_would_have_been_told(
    tmp_path: Path, storage: str, prefix: str, camera: str
) -> None:
    bag = write_bag(tmp_path / 'bag', mission(prefix, camera), storage)
    expected = (
        Signals(0.0, 31.25, 2),
        Signals(
            0.05, 25.0, 1, 40.0, {'motor': 61.5, 'gpu': 47.5}, 12.5, battery=0.75, charging=False
        ),
    )
    topics = BagTopics(prefix, camera)
    assert load_bag(bag, topics) == expected
    (file,) = [*bag.glob('*.mcap'), *bag.glob('*.db3')]
    assert is_bag(bag) and is_bag(file)
    if storage == 'mcap':
        assert load_bag(file, topics) == expected


def test_between_images_the_node_decides_by_itself_and_stale_readings_are_unknown(
    tmp_path: Path,
) -> None:
    entries = [('/temperature', 0.0, temperature(60.0)), ('/stats', 1.05, stats(0, 20.0))]
    records = load_bag(write_bag(tmp_path / 'bag', entries), timeout_s=0.55)
    assert [record.time_s for record in records] == pytest.approx(
        [*(0.1 * step for step in range(1, 11)), 1.05]
    )
    assert [bool(record.temperatures_c) for record in records] == [True] * 5 + [False] * 6
    assert records[-1].latency_level == 0


def test_a_jump_of_the_clock_makes_no_endless_recording(tmp_path: Path) -> None:
    entries = [('/stats', 0.0, stats(0, 20.0)), ('/stats', 1e8, stats(0, 20.0))]
    assert len(load_bag(write_bag(tmp_path / 'bag', entries))) == 3


def test_a_last_message_that_is_no_image_is_not_lost(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', [('/battery_state', 0.0, battery(0.5))])
    assert load_bag(bag) == (Signals(0.0, battery=0.5, charging=False),)


@pytest.mark.parametrize('value', [math.nan, math.inf, -1.0, 1e30])
def test_impossible_readings_are_unknown(tmp_path: Path, value: float) -> None:
    entries = [
        ('/battery_state', 0.0, battery(value)),
        ('/temperature', 0.0, temperature(-300.0 if value == -1.0 else value)),
        ('/stats', 0.01, stats(0, 20.0)),
    ]
    (record,) = load_bag(write_bag(tmp_path / 'bag', entries))
    assert record.battery is None and record.temperatures_c == {}


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        (mission('/robot1'), 'has no /stats, but /robot1/stats: choose with --namespace'),
        ([('/battery', 0.0, battery(0.5))], 'has none of /stats, /battery_state'),
        ([('/stats', 0.0, battery(0.5))], 'has none of /stats'),
        ([('/stats', 0.0, b'\0\1\0\0\xff\xff')], 'is damaged: a message of /stats at 0.000 s'),
    ],
)
def test_what_is_missing_or_broken_is_said_in_one_line(
    tmp_path: Path, entries: list[Entry], message: str
) -> None:
    bag = write_bag(tmp_path / 'bag', entries)
    with pytest.raises(ValueError) as caught:
        load_bag(bag)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_broken_file_is_said_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / 'bag.mcap'
    file.write_bytes(b'no bag at all')
    with pytest.raises(ValueError, match='is no complete rosbag2') as caught:
        load_bag(file)
    assert len(str(caught.value).splitlines()) == 1


def test_without_rosbags_one_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'rosbags.rosbag2', None)
    with pytest.raises(ImportError, match=r'pip install "anydepth-ros\[bag\]"'):
        load_bag(tmp_path)


def test_other_files_and_folders_are_no_bags(tmp_path: Path) -> None:
    (tmp_path / 'trace.csv').write_text('time_s')
    assert not is_bag(tmp_path) and not is_bag(tmp_path / 'trace.csv')

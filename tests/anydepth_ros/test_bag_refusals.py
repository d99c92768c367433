"""What detect_bag refuses, each in one sentence, and that nothing half made is left."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import signal
import sqlite3
import subprocess
import sys

import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from anydepth_core.export.bundle import Bundle
from anydepth_ros.bag.command import main

rosbags = pytest.importorskip('rosbags', reason='bags need rosbags: pip install rosbags')

from tests.anydepth_ros.bags import (  # noqa: E402
    camera_entries,
    Entry,
    jpeg,
    PICTURES,
    PLUGINS,
    START,
    write_bag,
)
from tests.anydepth_ros.conftest import wait_until  # noqa: E402


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / 'bag', camera_entries())


def refused(capsys: pytest.CaptureFixture[str], folder: Path, arguments: Sequence[object]) -> str:
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
    assert 'is no complete rosbag2' in refused(capsys, tmp_path, [bag, *output])


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


def test_damage_in_the_middle_leaves_nothing(
    tmp_path: Path, toy_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / 'bag', camera_entries(), compression='MESSAGE')
    with sqlite3.connect(bag / 'bag.db3') as connection:
        connection.execute("UPDATE messages SET data = x'00' WHERE id = 3")
    connection.close()
    arguments = [bag, '--output', tmp_path / 'out', '--model', toy_bundle.path]
    assert f'{bag} is damaged after 2 messages: ' in refused(capsys, tmp_path, arguments)


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
    assert line == "detect_bag: rosbags is needed: run `pip install 'rosbags>=0.11' tqdm`"


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

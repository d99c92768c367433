"""The whole demo on toy bundles, as a user starts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import signal
import subprocess
import sys

import cv2
import pytest

from anydepth_core.export.bundle import Bundle
from anydepth_ros.demo.run import CLIP, parse_arguments
from anydepth_ros.demo.simulated import ZONE
from tests.anydepth_core.support.toy_bundle import (
    LADDER,
    picture,
    toy_master,
    write_toy_bundle,
)
from tests.anydepth_ros.test_frames import write_folder


def test_the_default_clip_is_there() -> None:
    clip = parse_arguments([]).source
    assert clip.endswith(CLIP)
    capture = cv2.VideoCapture(clip)
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 240


def environment() -> dict[str, str]:
    """Return the environment of a user, without what the tests have decided."""
    ours = ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_DOMAIN_ID')
    return {name: value for name, value in os.environ.items() if name not in ours}


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'anydepth_ros.demo', *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=120, check=False
    )


def write_pictures(path: Path) -> Path:
    """Write a folder of images with one object each."""
    folder = write_folder(path)
    for index in range(3):
        cv2.imwrite(str(folder / f'{index}.png'), picture((index, index, index)))
    return folder


def test_the_demo_shows_the_depth_by_hand_a_budget_and_heat(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    folder, out = write_pictures(tmp_path / 'images'), tmp_path / 'out'
    arguments = {'bundle': toy_bundle.path, 'source': folder, 'seconds': 15, 'out': out}
    done = demo(*(word for name, value in arguments.items() for word in (f'--{name}', str(value))))
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == [
        'annotated.mp4',
        'summary.json',
        'timeline.png',
    ]
    content = json.loads((out / 'summary.json').read_text())
    assert content['frames'] > 30 and content['frames_with_detections'] > content['frames'] / 2
    assert all(one['accepted'] for one in content['settings']), content['settings']
    by_hand = [one['value'] for one in content['settings'] if one['parameter'] == 'depth']
    assert by_hand == [2, 1, 0, 'full']
    assert set(content['depths']) == {'11-1@96', '00-0@96', '00-0@64'}
    parts = content['parts']
    assert [part['frames'] > 5 for part in parts.values()] == [True] * 3
    assert parts['by hand']['reasons'] == [] and parts['by hand']['share_over_budget'] is None
    assert 'deadline' in parts['budget']['reasons'][0]['reason']
    assert 0 <= parts['budget']['share_over_budget'] <= 1
    budgets = [step['budget_ms'] for step in content['budget_steps']]
    assert budgets[0] == budgets[2] > budgets[1] > 0
    heat = parts['heat']
    assert any(ZONE in one['reason'] for one in heat['reasons']), heat['reasons']
    assert heat['highest_temperature_c'] < heat['highest_at_dearest_level_c']
    assert 'fps' in done.stdout and 'Traceback' not in done.stderr


def test_the_demo_runs_a_model_with_a_decoder_and_chosen_depths(
    tmp_path: Path, detr_bundle: Bundle
) -> None:
    folder, out = write_pictures(tmp_path / 'images'), tmp_path / 'out'
    arguments = {'bundle': detr_bundle.path, 'source': folder, 'seconds': 6, 'out': out}
    arguments['depths'] = 'full,0101-0d3'
    done = demo(*(word for name, value in arguments.items() for word in (f'--{name}', str(value))))
    assert done.returncode == 0, done.stderr
    content = json.loads((out / 'summary.json').read_text())
    assert content['frames_with_detections'] > content['frames'] / 2
    assert all(one['accepted'] for one in content['settings']), content['settings']
    assert {'1111-1d3@96', '0101-0d3@96'} <= set(content['depths'])
    assert '1111-1d3@96' in done.stdout and 'Traceback' not in done.stderr


def test_a_ladder_of_one_level_has_nothing_to_choose_and_runs(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / 'toy', ladder=LADDER[:1])
    folder, out = write_pictures(tmp_path / 'images'), tmp_path / 'out'
    arguments = {'bundle': bundle.path, 'source': folder, 'seconds': 4, 'out': out}
    done = demo(*(word for name, value in arguments.items() for word in (f'--{name}', str(value))))
    assert done.returncode == 0, done.stderr
    content = json.loads((out / 'summary.json').read_text())
    told = [one['level'] for part in content['parts'].values() for one in part['reasons']]
    assert set(told) == {0} and 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--source', '/nowhere.mp4'], 'does not exist'),
        (['--bundle', '/nowhere'], '/nowhere is no bundle'),
    ],
)
def test_the_demo_says_in_one_line_what_it_cannot_read(
    toy_bundle: Bundle, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = demo('--bundle', str(toy_bundle.path), '--out', str(tmp_path), *arguments)
    assert done.returncode == 1
    assert done.stderr.count('demo: ') == 1 and words in done.stderr
    assert 'Traceback' not in done.stderr


def test_the_demo_ends_soon_when_the_detector_cannot_start(tmp_path: Path) -> None:
    master = toy_master()
    next(node for node in master.graph.node if node.op_type == 'Sigmoid').op_type = 'NoSuchThing'
    bundle = write_toy_bundle(tmp_path / 'toy', master=master)
    folder = write_folder(tmp_path / 'images')
    done = demo('--bundle', str(bundle.path), '--source', str(folder), '--out', str(tmp_path))
    assert done.returncode == 1
    assert 'cannot configure' in done.stderr and 'NoSuchThing' in done.stderr
    assert 'demo: the detector could not start; its message above says why' in done.stderr


@contextmanager
def running_demo(tmp_path: Path, bundle: Bundle) -> Iterator[subprocess.Popen[str]]:
    """Start a demo in a process group of its own, and wait for its first line of figures."""
    command = [sys.executable, '-m', 'anydepth_ros.demo', '--bundle', str(bundle.path)]
    command += ['--source', str(write_folder(tmp_path / 'images')), '--out', str(tmp_path / 'out')]
    with (
        (tmp_path / 'log').open('w') as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert any('frames in' in line for line in process.stdout)
        yield process


def assert_results_and_no_process(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    """Check what a demo leaves that was cut short."""
    assert (tmp_path / 'out' / 'summary.json').is_file()
    assert (tmp_path / 'out' / 'timeline.png').is_file()
    assert 'Traceback' not in (tmp_path / 'log').read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_ctrl_c_ends_the_demo_with_its_results_and_no_process_left(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    with running_demo(tmp_path, toy_bundle) as process:
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert 'stopped' in rest
    assert_results_and_no_process(tmp_path, process)


def test_a_controller_that_dies_is_named_and_what_was_recorded_stays(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    with running_demo(tmp_path, toy_bundle) as process:
        os.kill(child(process.pid, 'controller_node'), signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == 1
    assert 'demo: controller_node has ended (exit status -9)' in (tmp_path / 'log').read_text()
    assert_results_and_no_process(tmp_path, process)


def child(parent: int, module: str) -> int:
    """Return the process that runs a node of ours for a parent."""
    children = Path(f'/proc/{parent}/task/{parent}/children').read_text().split()
    commands = {int(pid): Path(f'/proc/{pid}/cmdline').read_text() for pid in children}
    return next(pid for pid, command in commands.items() if module in command)

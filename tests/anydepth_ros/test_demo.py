"""The demo: its figures, its pictures, and the whole of it on the toy bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from anydepth_core.export.bundle import Bundle
from anydepth_core.structures import Detections
from anydepth_ros.demo.report import Frame, live_line, percentiles, Recording, summary, Switch
from anydepth_ros.demo.run import CLIP, parse_arguments, schedule
from anydepth_ros.demo.timeline import draw_timeline
from anydepth_ros.demo.video import annotate, AnnotatedVideo
from tests.anydepth_core.support.toy_bundle import picture, toy_master, write_toy_bundle
from tests.anydepth_ros.test_frames import write_folder


def recording(count: int = 40) -> Recording:
    """Return a run at 10 fps that changes from full to base in the middle."""
    frames = [
        Frame(n / 10, '11-1' if n < count / 2 else '00-0', 30.0 + n % 3, 20.0, n % 4)
        for n in range(count)
    ]
    return Recording(frames, [Switch(2.0, 'base', True, 3.5)], count + 5, count, 4, 2.5)


def test_the_live_line_shows_the_last_second() -> None:
    line = live_line(recording(), 4.0, 45, 40)
    for part in ('frames in    45', 'detections out    40', 'depth 00-0', 'p50   31.0', '9 fps'):
        assert part in line, line
    assert 'depth -' in live_line(Recording(), 1.0, 0, 0)


def test_the_summary_tells_each_depth_apart(toy_bundle: Bundle) -> None:
    content = json.loads(summary(recording(), toy_bundle, 'clip.mp4'))
    assert (content['frames'], content['dropped'], content['images_in']) == (40, 4, 45)
    assert content['fps'] == pytest.approx(10.0)
    assert list(content['depths']) == ['11-1', '00-0']
    assert content['depths']['00-0']['frames'] == 20
    assert content['depths']['11-1']['latency_ms_p50'] == 31.0
    assert content['detections'] == 60 and content['frames_with_detections'] == 30
    assert content['switches'][0]['depth'] == 'base'
    assert content['ros_distro'] and content['versions']['rclpy']


def test_depths_are_listed_dearest_first_with_or_without_a_decoder() -> None:
    given = ['0000-0d4@640', '1111-1d1@640', '0000-0d6@640', '1111-1d6@640', '1111-1d6@480x640']
    frames = [Frame(n / 10, depth, 30.0, 20.0, 1) for n, depth in enumerate(given)]
    expected = [
        '1111-1d6@480x640',
        '1111-1d6@640',
        '1111-1d1@640',
        '0000-0d6@640',
        '0000-0d4@640',
    ]
    assert Recording(frames).depths() == expected
    plain = ['0000-0000@320', '1111-1111@256', '1111-1111@320']
    assert Recording([Frame(0, depth, 1, 1, 1) for depth in plain]).depths() == plain[::-1]


def test_the_rows_of_the_conclusion_stand_under_their_heading() -> None:
    for depth in ('11-1', '1111-1d6@480x640', '1111-1d6@1024x1280'):
        frames = [Frame(n / 10, depth, 1234.5, 1200.0, 12) for n in range(3)]
        _, heading, row = Recording(frames).conclusion().splitlines()
        assert row.split() == [depth, '3', '1234.5', '1234.5', '1200.0', '12.00']
        assert len(row) == len(heading)
        for title, figure in (('frames', '3'), ('network ms p50', '1200.0')):
            end = heading.index(title) + len(title)
            assert row[:end].endswith(figure)


def test_a_run_without_a_frame_has_a_summary_too(toy_bundle: Bundle) -> None:
    assert json.loads(summary(Recording(), toy_bundle, 'clip.mp4'))['fps'] == 0.0
    assert percentiles([]) == (0.0, 0.0)


@pytest.mark.parametrize('count', [1, 2, 40])
def test_the_timeline_is_a_picture_even_of_one_frame(tmp_path: Path, count: int) -> None:
    path = tmp_path / 'out' / 'timeline.png'
    draw_timeline(recording(count), path)
    image = cv2.imread(str(path))
    assert image.shape[1] > 1000 and image.std() > 5
    assert [file.name for file in path.parent.iterdir()] == ['timeline.png']


def test_the_video_has_every_frame_enlarged_and_annotated(tmp_path: Path) -> None:
    path = tmp_path / 'out' / 'annotated.mp4'
    video = AnnotatedVideo(path, 10.0, ['red'])
    found = Detections(
        np.array([[8, 40, 60, 90]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
    )
    for _ in range(5):
        video.add(picture(), found, 'depth 11-1')
    video.close()
    assert [file.name for file in path.parent.iterdir()] == ['annotated.mp4']
    capture = cv2.VideoCapture(str(path))
    frames = [capture.read() for _ in range(6)]
    assert [good for good, _ in frames] == [True] * 5 + [False]
    assert frames[0][1].shape[:2] == (576, 576)
    assert annotate(picture(), found, '', ['red'])[300, 48].any(), (
        'left edge of the box, six times enlarged'
    )


def test_the_schedule_goes_down_the_ladder_and_back_to_full(toy_bundle: Bundle) -> None:
    assert schedule(toy_bundle, '') == ['full', 0, 'base', '01-0', 'full']
    assert schedule(toy_bundle, 'full,1,01-1') == ['full', 1, '01-1']


def test_the_schedule_of_a_model_with_a_decoder_names_its_layers(detr_bundle: Bundle) -> None:
    assert schedule(detr_bundle, '') == ['full', 0, 'base', '0101-0d3', 'full']
    assert schedule(detr_bundle, '1111-1d1,2') == ['1111-1d1', 2]


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


def test_the_demo_writes_its_three_results(tmp_path: Path, toy_bundle: Bundle) -> None:
    folder, out = write_folder(tmp_path / 'images'), tmp_path / 'out'
    for index in range(3):
        cv2.imwrite(str(folder / f'{index}.png'), picture((index, index, index)))
    done = demo(
        '--bundle',
        str(toy_bundle.path),
        '--source',
        str(folder),
        '--seconds',
        '5',
        '--out',
        str(out),
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == [
        'annotated.mp4',
        'summary.json',
        'timeline.png',
    ]
    content = json.loads((out / 'summary.json').read_text())
    assert content['frames'] > 10 and content['frames_with_detections'] > content['frames'] / 2
    assert [s['depth'] for s in content['switches']] == ['0', 'base', '01-0', 'full']
    assert all(s['accepted'] for s in content['switches'])
    assert set(content['depths']) == {'11-1@96', '00-0@96', '00-0@64', '01-0@96'}
    assert 'fps' in done.stdout and 'Traceback' not in done.stderr


def test_the_demo_runs_a_model_with_a_decoder(tmp_path: Path, detr_bundle: Bundle) -> None:
    folder, out = write_folder(tmp_path / 'images'), tmp_path / 'out'
    for index in range(3):
        cv2.imwrite(str(folder / f'{index}.png'), picture((index, index, index)))
    arguments = {'bundle': detr_bundle.path, 'source': folder, 'seconds': 5, 'out': out}
    done = demo(*(word for name, value in arguments.items() for word in (f'--{name}', str(value))))
    assert done.returncode == 0, done.stderr
    content = json.loads((out / 'summary.json').read_text())
    assert content['frames_with_detections'] > content['frames'] / 2
    assert all(s['accepted'] for s in content['switches']), content['switches']
    assert list(content['depths']) == ['1111-1d3@96', '0101-0d3@96', '0000-0d2@96', '0000-0d2@64']
    assert '1111-1d3@96' in done.stdout and 'Traceback' not in done.stderr


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


def test_ctrl_c_ends_the_demo_with_its_results_and_no_process_left(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    out = tmp_path / 'out'
    command = [sys.executable, '-m', 'anydepth_ros.demo', '--bundle', str(toy_bundle.path)]
    command += ['--source', str(write_folder(tmp_path / 'images')), '--out', str(out)]
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
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    assert 'stopped' in rest and (out / 'summary.json').is_file()
    assert 'Traceback' not in (tmp_path / 'log').read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)

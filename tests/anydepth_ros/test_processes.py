"""The nodes as real processes, started with the command line that ``ros2 launch`` builds."""

from __future__ import annotations

from pathlib import Path
import signal
import time

import pytest

from anydepth_core.export.bundle import Bundle
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.support import Probe


def parameter_file(tmp_path: Path, bundle: Bundle) -> Path:
    path = tmp_path / 'parameters.yaml'
    path.write_text(f'/**:\n  ros__parameters:\n    model: {bundle.path}\n    depth: 1\n')
    return path


def launch_arguments(tmp_path: Path, bundle: Bundle) -> list[str]:
    """Return the arguments that launch passes: name, namespace, parameters, remapping."""
    file = parameter_file(tmp_path, bundle)
    remapping = ['-r', 'image:=/camera/image_raw']
    return ['-r', '__node:=detector', '-r', '__ns:=/cam0', '--params-file', str(file), *remapping]


def test_the_launch_command_applies_namespace_parameters_and_remapping(
    local_graph: Graph, start, tmp_path: Path, toy_bundle: Bundle
) -> None:
    start('detector_node', *launch_arguments(tmp_path, toy_bundle))
    arguments = ['--ros-args', '-r', 'image:=/camera/image_raw']
    probe = local_graph.add(Probe(namespace='/cam0', cli_args=arguments))
    probe.meet_detector()
    stamp = probe.send()
    assert len(probe.answer(stamp).detections) == 1
    assert probe.stats[stamp]['depth'] == '00-0'
    assert probe.set(depth='full') == (True, '')
    assert probe.depth_of(probe.send()) == '11-1'


@pytest.mark.parametrize(
    'signals', [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)]
)
def test_signals_end_the_detector_cleanly(
    local_graph: Graph,
    start,
    tmp_path: Path,
    toy_bundle: Bundle,
    signals: tuple[signal.Signals, ...],
) -> None:
    process = start('detector_node', *launch_arguments(tmp_path, toy_bundle))
    probe = local_graph.add(
        Probe(namespace='/cam0', cli_args=['--ros-args', '-r', 'image:=/camera/image_raw'])
    )
    probe.meet_detector()
    for number in signals:
        process.popen.send_signal(number)
        time.sleep(0.002)
    assert process.wait() == 0
    assert 'Traceback' not in process.output()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['-p', 'depth:=1.5'], 'depth 1.5 is not legal'),
        (['-p', 'confidence_threshold:=2.0'], 'confidence_threshold'),
        (['-p', 'threads:=many'], 'threads'),
    ],
)
def test_a_wrong_parameter_ends_the_detector_with_one_line(
    start, arguments: list[str], words: str
) -> None:
    process = start('detector_node', *arguments)
    assert process.wait() == 1
    lines = [line for line in process.output().splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and words in lines[0]
    assert 'Traceback' not in process.output()


def test_a_wrong_bundle_is_said_and_the_process_stays(start, tmp_path: Path) -> None:
    process = start('detector_node', '-p', f'model:={tmp_path}')
    wait_until(lambda: 'cannot configure' in process.output())
    assert 'bundle.yaml' in process.output() and 'Traceback' not in process.output()
    assert process.popen.poll() is None
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 0


@pytest.mark.parametrize('source', ['/nowhere.mp4', '', '97'])
def test_an_unreadable_source_ends_the_video_source_with_one_line(start, source: str) -> None:
    process = start('video_source_node', '-p', f"source:='{source}'")
    assert process.wait() == 1
    lines = [line for line in process.output().splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and 'source' in lines[0] or 'camera' in lines[0]
    assert 'Traceback' not in process.output()


def test_the_video_source_ends_well_with_its_source(start, tmp_path: Path) -> None:
    from tests.anydepth_ros.test_frames import write_video

    clip = write_video(tmp_path / 'clip.mp4')
    process = start(
        'video_source_node', '-p', f'source:={clip}', '-p', 'loop:=false', '-p', 'rate:=100.0'
    )
    assert process.wait() == 0
    assert 'the source has ended' in process.output()

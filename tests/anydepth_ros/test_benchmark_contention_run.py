"""`anydepth benchmark --node --contention` as processes: the hogs, the listener, one short run."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest
import rclpy

from anydepth_core.control.signals import Decision
from anydepth_core.export.bundle import Bundle
from anydepth_ros.benchmark.child import NAMESPACE
from anydepth_ros.benchmark.contention.hogs import Hogs
from anydepth_ros.benchmark.contention.series import BASE, FULL, PHASES, POLICIES
from anydepth_ros.benchmark.listener import DEEP, HeardDecision, ListenerNode
from anydepth_ros.controller_report import decision_message, DetectorState
from tests.anydepth_ros.conftest import Graph, wait_until


def running(pid: int) -> bool:
    """Say whether a process lives; one that has ended but was not waited for does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def test_hogs_run_between_their_moments_only() -> None:
    before = set(children(os.getpid()))
    with Hogs(2, from_s=1.0, until_s=2.0) as hogs:
        hogs.follow(0.9)
        assert hogs.from_ns is None and set(children(os.getpid())) == before
        hogs.follow(1.0)
        started = set(children(os.getpid())) - before
        assert len(started) == 2 and all(map(running, started)) and hogs.until_ns is None
        hogs.follow(1.9)
        assert all(map(running, started))
        hogs.follow(2.0)
        assert not any(map(running, started))
    assert hogs.from_ns is not None and hogs.until_ns is not None
    assert hogs.from_ns < hogs.until_ns


def test_hogs_end_with_the_block_whatever_happens_in_it() -> None:
    before = set(children(os.getpid()))
    with pytest.raises(KeyError), Hogs(1, from_s=0.0, until_s=9.0) as hogs:
        hogs.follow(0.0)
        (started,) = set(children(os.getpid())) - before
        raise KeyError
    assert not running(started)


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_hogs_end_with_their_parent_however_it_ends(number: signal.Signals) -> None:
    work = (
        'import time; from anydepth_ros.benchmark.contention.hogs import Hogs\n'
        'with Hogs(1, 0.0, 9e9) as hogs:\n'
        '    hogs.follow(0.0); print("started", flush=True); time.sleep(60)\n'
    )
    command = [sys.executable, '-c', work]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b'started\n'
        (hog,) = children(parent.pid)
        parent.send_signal(number)
    wait_until(lambda: not running(hog), 'the hog has ended')


def test_the_listener_hears_decisions_and_forgets(graph: Graph) -> None:
    listener = ListenerNode()
    graph.add(listener)
    speaker = graph.add(rclpy.create_node('controller', namespace=NAMESPACE))
    message = decision_message(
        'controller', Decision(1, 'too slow', 'deadline'), 4, DetectorState('auto', True)
    )
    message.header.stamp.sec = 3
    said = speaker.create_publisher(type(message), '~/decision', DEEP)
    wait_until(said.get_subscription_count, 'a match')
    said.publish(message)
    wait_until(lambda: listener.decisions, 'a decision')
    assert listener.decisions == [HeardDecision(3_000_000_000, 1, 'auto', 'too slow')]
    listener.forget()
    assert listener.decisions == [] and listener.stats == {} and listener.detections == {}


def test_the_closed_loop_is_measured(toy_bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib', reason='the picture needs matplotlib')
    output = tmp_path / 'loop.json'
    command = [sys.executable, '-m', 'anydepth_core.cli', 'benchmark', str(toy_bundle.path)]
    command += ['--node', '--contention', '1', '--image-size', '160x120', '--seconds', '1']
    command += ['--rounds', '1', '--rate', '15', '--output', str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    content = json.loads(output.read_text())
    phases = {(one['policy'], one['phase']): one for one in content['phases']}
    assert list(phases) == [(policy, phase) for policy in POLICIES for phase in PHASES]
    assert all(one['frames'] > 0 for one in phases.values())
    assert all(0 <= one['left_out'] < one['sent'] for one in phases.values())
    top = len(toy_bundle.ladder) - 1
    for phase in PHASES:
        assert phases[FULL, phase]['levels'] == {str(top): 1.0}
        assert phases[BASE, phase]['levels'] == {'0': 1.0}
    assert content['deadline_ms'] > content['calibration']['top_calm_p95_ms']
    assert [one['policy'] for one in content['onsets']] == list(POLICIES)
    assert 0 < content['controller_cpu'] < 1
    frames = list(csv.DictReader(output.with_suffix('.csv').open()))
    assert len(frames) == sum(one['frames'] for one in phases.values())
    assert output.with_suffix('.png').read_bytes()[:4] == b'\x89PNG'

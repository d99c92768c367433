"""The builder as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from hypothesis import given, settings, strategies
import pytest

from anydepth_core.runtime.tensorrt.builder import Builder
from anydepth_core.runtime.tensorrt.cache import EngineCache, EngineKey, Environment
from anydepth_core.runtime.tensorrt.cuda import Cuda
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour
from tests.anydepth_core.runtime.tensorrt.support import COMMAND
from tests.anydepth_core.support.toy_bundle import LADDER


def quiet(text):
    pass


def key_of(rig, precision='fp16'):
    environment = Environment.of(rig.trt(), Cuda(rig.cudart))
    return EngineKey.of(rig.bundle, LADDER[0], precision, environment)


@pytest.fixture(autouse=True)
def environment(rig, monkeypatch):
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)


def test_a_builder_builds_checks_and_stores_an_engine_and_tells_how_it_goes(rig):
    told = []
    Builder(COMMAND).build(rig.job(LADDER[0]), 'toy', told.append)
    assert told == ['waits for its turn', 'is specialised', 'is built', *told[3:]]
    assert told[-1] == 'is compared with the CPU'
    record = EngineCache(rig.cache).find(key_of(rig))
    assert record.passed and record.verdict['detections'] > 0
    assert record.build['gpu_ms'] == 1.5 and record.build['scratch_bytes'] > 0


def test_an_error_of_the_builder_arrives_in_one_sentence(rig, monkeypatch):
    rig.behaviour = Behaviour(build_error='no implementation')
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    with pytest.raises(RuntimeError, match='^TensorRT 10.3.0 cannot build .*no implementation'):
        Builder(COMMAND).build(rig.job(LADDER[0]), 'toy', quiet)


@pytest.mark.parametrize(
    ('program', 'text'),
    [
        ('import os; os.kill(os.getpid(), 9)', 'engine toy was killed.*memory ran out.*swap'),
        ('import os; os.kill(os.getpid(), 11)', 'engine toy crashed with SIGSEGV'),
        ('raise SystemExit("no libnvinfer")', r'engine toy ended with status 1 \(no libnvinfer\)'),
        ('print("no json")', None),
    ],
)
def test_a_builder_that_dies_is_explained(rig, program, text):
    builder = Builder((sys.executable, '-c', program))
    if text is None:
        builder.build(rig.job(LADDER[0]), 'toy', quiet)
        return
    with pytest.raises(RuntimeError, match=text):
        builder.build(rig.job(LADDER[0]), 'toy', quiet)


def test_a_builder_is_cancelled_from_another_thread(rig, monkeypatch):
    rig.behaviour = Behaviour(seconds=60)
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    builder, building, errors = Builder(COMMAND), threading.Event(), []

    def build():
        try:
            builder.build(
                rig.job(LADDER[0]), 'toy', lambda text: building.set() if 'built' in text else None
            )
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=build)
    thread.start()
    assert building.wait(30)
    builder.cancel()
    thread.join(30)
    assert not thread.is_alive() and 'cancelled' in errors[0]
    with pytest.raises(RuntimeError, match='closed'):
        builder.build(rig.job(LADDER[0]), 'toy', quiet)


def test_a_builder_ends_with_its_parent(rig, monkeypatch):
    rig.behaviour = Behaviour(seconds=60)
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    child = subprocess.Popen(
        [*COMMAND, rig.job(LADDER[0]).to_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert b'turn' in child.stdout.readline()
    child.stdin.close()  # what the kernel does when the parent dies
    assert child.wait(30) == 1
    child.stdout.close()


def _killed_at(rig, lines, delay):
    """Kill a real builder with SIGKILL, so long after it said its nth line."""
    child = subprocess.Popen(
        [*COMMAND, rig.job(LADDER[0]).to_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for _ in range(lines):
        child.stdout.readline()
    try:
        child.wait(delay)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        pipe.close()


@given(strategies.lists(strategies.tuples(strategies.integers(0, 4), strategies.floats(0, 0.3)),
                        min_size=2, max_size=2))  # fmt: skip
@settings(max_examples=4, deadline=None)
def test_a_builder_killed_at_any_moment_leaves_a_usable_cache(tmp_path_factory, rig, kills):
    rig.cache = tmp_path_factory.mktemp('killed') / 'engines'
    for lines, delay in kills:
        _killed_at(rig, lines, delay)
    cache, key = EngineCache(rig.cache), key_of(rig)
    record = cache.find(key)
    if record is None:
        rig.build(LADDER[0])
        record = cache.find(key)
    assert record.passed and cache.plan(key, record)
    names = {path.suffix for path in rig.cache.iterdir() if not path.name.startswith('.')}
    assert names == {'.plan', '.json', '.cache', ''}

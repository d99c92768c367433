"""The few microseconds in which an engine is written, hit by SIGKILL many times."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
import random
import signal
import time

from anydepth_core.runtime.tensorrt.cache import EngineCache
from tests.anydepth_core.runtime.tensorrt.test_cache import KEY, PASSED


def wait_for(path: Path) -> None:
    """Return as soon as a file exists."""
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f'{path} was never written'


def test_a_writer_killed_at_any_moment_leaves_an_engine_or_none(tmp_path):
    cache = EngineCache(tmp_path / 'engines')
    plan = os.urandom(1 << 20)
    chance, outcomes = random.Random(0), set()
    begun = time.monotonic()
    cache.store(KEY, plan, PASSED, {})
    store_s = time.monotonic() - begun
    for number in range(60):
        for path in cache.directory.iterdir():
            path.unlink()
        child = os.fork()
        if child == 0:
            while True:
                cache.store(KEY, plan, PASSED, {})
        if number % 6 == 5:  # on a busy machine the child may take long to get there
            wait_for(cache.record_path(KEY))
        else:
            time.sleep(chance.uniform(0, 2 * store_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        recorded = cache.record_path(KEY).exists()
        record = cache.find(KEY)
        assert recorded == (record is not None)
        outcomes.add(recorded)
        if record is not None:
            kept = cache.plan(KEY, record)
            assert hashlib.sha256(kept).digest() == hashlib.sha256(plan).digest()
    with cache.building():
        assert not list(cache.directory.glob('.*'))
    assert outcomes == {True, False}

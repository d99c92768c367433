from __future__ import annotations

from dataclasses import replace
import json
import logging
import os
from pathlib import Path
import threading

import pytest

from anydepth_core.runtime.tensorrt.cache import (
    default_directory,
    EngineCache,
    EngineKey,
    Environment,
)

ENVIRONMENT = Environment('10.3.0', 'Orin', '8.7', '12.6')
KEY = EngineKey('ab' * 32, '1111-0011', (320, 256), 'fp16', ENVIRONMENT, '1.0')
PASSED = {'passed': True, 'reason': ''}


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / 'engines')


def test_an_engine_is_found_again(cache):
    assert cache.find(KEY) is None
    cache.store(KEY, b'plan', PASSED, {'seconds': 3.0})
    record = EngineCache(cache.directory).find(KEY)
    assert record.passed and record.plan_bytes == 4 and record.build == {'seconds': 3.0}
    assert cache.plan(KEY, record) == b'plan'


@pytest.mark.parametrize(
    'other',
    [
        replace(KEY, model='cd' * 32),
        replace(KEY, depth='1111-1111'),
        replace(KEY, image_size=(256, 320)),
        replace(KEY, precision='fp32'),
        replace(KEY, anydepth='1.1'),
        *(
            replace(KEY, environment=replace(ENVIRONMENT, **{name: 'other'}))
            for name in ('tensorrt', 'gpu', 'compute_capability', 'cuda')
        ),
    ],
)
def test_an_engine_that_differs_in_anything_is_another_one(cache, other):
    cache.store(KEY, b'plan', PASSED, {})
    assert cache.find(other) is None
    cache.store(other, b'else', PASSED, {})
    assert cache.plan(KEY, cache.find(KEY)) == b'plan'


def test_the_reason_for_a_new_build_is_logged(cache, caplog):
    caplog.set_level(logging.INFO)
    cache.find(KEY)
    assert 'it is not in the cache' in caplog.text
    cache.store(KEY, b'plan', PASSED, {})
    newer = replace(ENVIRONMENT, tensorrt='10.16.1', cuda='13.2')
    cache.find(replace(KEY, environment=newer))
    assert 'tensorrt 10.3.0 became 10.16.1, cuda 12.6 became 13.2' in caplog.text


def test_only_the_verdict_is_kept_of_an_engine_that_failed(cache):
    cache.store(KEY, b'plan', {'passed': False, 'reason': 'wrong'}, {})
    record = cache.find(KEY)
    assert not record.passed and record.verdict['reason'] == 'wrong'
    assert not list(cache.directory.glob('*.plan'))


@pytest.mark.parametrize('content', [b'', b'pla', b'plan2'])
def test_a_damaged_plan_is_deleted_with_the_reason(cache, caplog, content):
    cache.store(KEY, b'plan', PASSED, {})
    plan = next(cache.directory.glob('*.plan'))
    plan.write_bytes(content)
    assert cache.find(KEY) is None
    assert 'damaged' in caplog.text and not list(cache.directory.iterdir())


def test_a_plan_that_is_gone_is_built_again(cache):
    cache.store(KEY, b'plan', PASSED, {})
    next(cache.directory.glob('*.plan')).unlink()
    assert cache.find(KEY) is None


@pytest.mark.parametrize(
    'damage',
    [
        lambda text: '',
        lambda text: text[:-9],
        lambda text: '[]',
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('fp16', 'fp32'),
        lambda text: json.dumps({**json.loads(text), 'verdict': 'fine'}),
    ],
)
def test_a_damaged_record_is_deleted(cache, damage):
    cache.store(KEY, b'plan', PASSED, {})
    path = cache.record_path(KEY)
    path.write_text(damage(path.read_text()))
    assert cache.find(KEY) is None and not path.exists()


def test_a_plan_without_its_record_is_no_engine(cache):
    cache.store(KEY, b'plan', PASSED, {})
    cache.record_path(KEY).unlink()
    assert cache.find(KEY) is None
    cache.store(KEY, b'new', PASSED, {})
    assert cache.plan(KEY, cache.find(KEY)) == b'new'


def test_the_directory_belongs_to_its_user_alone(cache):
    assert cache.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize('mode', [0o777, 0o770, 0o720])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path, mode):
    tmp_path.joinpath('engines').mkdir()
    tmp_path.joinpath('engines').chmod(mode)
    with pytest.raises(RuntimeError, match=r'others may write to .*chmod go-w'):
        EngineCache(tmp_path / 'engines')


def test_a_plan_that_others_may_write_to_is_refused(cache):
    cache.store(KEY, b'plan', PASSED, {})
    next(cache.directory.glob('*.plan')).chmod(0o666)
    with pytest.raises(RuntimeError, match=r'others may write to .*\.plan'):
        cache.find(KEY)


def test_a_directory_of_somebody_else_is_refused(tmp_path, monkeypatch):
    EngineCache(tmp_path / 'engines')
    owner = (tmp_path / 'engines').stat().st_uid
    if owner == 0:
        os.chown(tmp_path / 'engines', 12345, -1)
    else:
        monkeypatch.setattr(os, 'geteuid', lambda: owner + 1)
    with pytest.raises(RuntimeError, match='not owned by the user'):
        EngineCache(tmp_path / 'engines')


def test_a_place_that_is_no_directory_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'file', tmp_path / 'file' / 'engines'):
        with pytest.raises(RuntimeError, match='cannot be used.*--cache'):
            EngineCache(path)


def test_the_default_is_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_directory() == tmp_path / 'anydepth' / 'engines'
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    for value in ('', 'relative'):
        monkeypatch.setenv('XDG_CACHE_HOME', value)
        assert default_directory() == Path(tmp_path, 'home', '.cache', 'anydepth', 'engines')


def test_a_new_build_sweeps_what_a_killed_one_left(cache):
    (cache.directory / '.half-written.plan').write_bytes(b'x')
    cache.store(KEY, b'plan', PASSED, {})
    with cache.building():
        assert not list(cache.directory.glob('.*'))
    assert cache.find(KEY) is not None


def test_one_builds_at_a_time(cache):
    first, order = threading.Event(), []

    def second():
        with EngineCache(cache.directory).building():
            order.append('second')

    thread = threading.Thread(target=second)
    with cache.building():
        thread.start()
        first.wait(0.2)
        order.append('first')
    thread.join()
    assert order == ['first', 'second']

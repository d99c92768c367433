from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from anydepth_core.export.opset import lower_opset
from anydepth_core.runtime.level_graphs import LevelGraphs
from anydepth_core.runtime.tensorrt.build import build_plan, MIB, opset_for, workspace_bytes
from anydepth_core.runtime.tensorrt.library import (
    check_version,
    grid_sample_is_faulty,
    import_tensorrt,
    make_log,
    version_of,
)
from tests.anydepth_core.runtime.tensorrt.fake_cudart import FakeCudart, GIB
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour, make_tensorrt, VERSIONS
from tests.anydepth_core.support.toy_bundle import LADDER


@pytest.fixture(scope='module')
def graphs(toy_bundle):
    return LevelGraphs(toy_bundle)


def build(trt, model, tmp_path, precision='fp32'):
    log = trt.loggers[0] if trt.loggers else make_log(trt)
    timings = tmp_path / 'timing.cache'
    return build_plan(trt, log, model, 'toy', precision, 256 * MIB, timings)


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
@pytest.mark.parametrize('flavour', VERSIONS)
def test_every_version_builds_with_the_calls_that_it_has(graphs, tmp_path, flavour, precision):
    trt = make_tensorrt(flavour, FakeCudart())
    model = graphs.graph(LADDER[2], precision)
    opset = opset_for(trt, 18)
    assert opset == (17 if flavour == '8.6' else 18)
    model = model if opset == 18 else lower_opset(model, opset)
    plan = build(trt, model.SerializeToString(), tmp_path, precision)
    facts = json.loads(plan.split(b'\n')[1])
    assert facts['precision'] == precision and facts['version'] == VERSIONS[flavour]


def test_builds_share_their_timings(graphs, tmp_path):
    trt = make_tensorrt('10.3', FakeCudart())
    for point in LADDER:
        build(trt, graphs.graph(point).SerializeToString(), tmp_path)
    assert (tmp_path / 'timing.cache').read_bytes() == b'timings...'


def test_timings_that_do_not_fit_are_replaced(graphs, tmp_path):
    (tmp_path / 'timing.cache').write_bytes(b'of another GPU')
    build(
        make_tensorrt('10.3', FakeCudart()), graphs.graph(LADDER[0]).SerializeToString(), tmp_path
    )
    assert (tmp_path / 'timing.cache').read_bytes() == b'timings.'


@pytest.mark.parametrize(
    ('behaviour', 'text'),
    [
        (Behaviour(parse_error='no such operator'), 'cannot parse toy: no such operator; update'),
        (
            Behaviour(build_error='no implementation'),
            'cannot build toy: no implementation; update',
        ),
        (
            Behaviour(build_error='Error Code 2: OutOfMemory'),
            'cannot build toy: .*OutOfMemory; the builder had 256 MiB.*--workspace',
        ),
    ],
)
def test_what_cannot_be_built_says_why_and_what_to_do(graphs, tmp_path, behaviour, text):
    trt = make_tensorrt('10.3', FakeCudart(), behaviour)
    with pytest.raises(RuntimeError, match=text):
        build(trt, graphs.graph(LADDER[0]).SerializeToString(), tmp_path)
    assert not (tmp_path / 'timing.cache').exists()


def test_the_workspace_leaves_room_for_others():
    assert workspace_bytes(4 * GIB, None) == GIB
    assert workspace_bytes(10 * MIB, None) == 64 * MIB
    assert workspace_bytes(400 * GIB, None) == 4 * GIB
    assert workspace_bytes(400 * GIB, 300) == 300 * MIB


def test_a_tensorrt_that_is_too_old_is_refused():
    old = SimpleNamespace(__version__='8.5.3.1')
    assert version_of(old) == (8, 5, 3)
    with pytest.raises(RuntimeError, match='8.5.3.1 is too old: install version 8.6'):
        check_version(old)


def test_a_missing_tensorrt_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(RuntimeError, match='nvidia-jetpack python3-libnvinfer'):
        import_tensorrt()


@pytest.mark.parametrize(
    ('version', 'faulty'),
    [
        ('8.6.2', False),
        ('10.3.0', False),
        ('10.12.0.36', False),
        ('10.13.3.9', True),
        ('10.14.1.48', True),
        ('10.16.1.11', True),
        ('11.1.0.106', True),
        ('11.2.1', False),
        ('11.4.0.106', False),
    ],
)
def test_versions_that_sample_wrongly_are_known(version, faulty):
    assert grid_sample_is_faulty(version) is faulty

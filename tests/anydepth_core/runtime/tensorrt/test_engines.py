"""Cache hit, miss, mismatch, damage and the accuracy check."""

from __future__ import annotations

import logging

import pytest

from anydepth_core.runtime.tensorrt.build_process import Building
from anydepth_core.runtime.tensorrt.builder import Builder
from anydepth_core.runtime.tensorrt.cuda import Cuda
from anydepth_core.runtime.tensorrt.engines import Engines
from anydepth_core.runtime.tensorrt.library import make_log
from tests.anydepth_core.runtime.tensorrt.fake_cudart import FakeCudart
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour, make_tensorrt
from tests.anydepth_core.support.toy_bundle import LADDER


class LocalBuilder(Builder):
    """Builds in this process, and counts."""

    def __init__(self, rig):
        super().__init__()
        self._rig = rig
        self.built = []

    def build(self, job, name, progress):
        self.built.append(name)
        cudart = FakeCudart(name=self._rig.cudart.name, version=self._rig.cudart.version)
        trt = make_tensorrt(self._rig.flavour, cudart, self._rig.behaviour)
        Building(job, trt, cudart, progress).run()
        assert cudart.misuse == []


@pytest.fixture
def open_engines(rig):
    def open_(**changes):
        rig.builder = LocalBuilder(rig)
        trt = rig.trt()
        rig.log = make_log(trt)
        return Engines(rig.bundle, rig.settings, trt, Cuda(rig.cudart), rig.builder, **changes)

    return open_


def test_an_engine_is_built_once_and_found_afterwards(rig, open_engines):
    key, record = open_engines().obtain(LADDER[0])
    assert key.precision == 'fp16' and record.passed and len(rig.builder.built) == 1
    assert open_engines().obtain(LADDER[0]) == (key, record)
    assert rig.builder.built == []


@pytest.mark.parametrize('change', ['flavour', 'gpu', 'cuda'])
def test_another_environment_builds_anew_and_says_why(rig, open_engines, caplog, change):
    caplog.set_level(logging.INFO)
    open_engines().obtain(LADDER[0])
    if change == 'flavour':
        rig.flavour, text = '10.16', 'tensorrt 10.3.0 became 10.16.1.11'
    elif change == 'gpu':
        rig.cudart, text = FakeCudart(name='Thor'), 'gpu Fake Orin became Thor'
    else:
        rig.cudart, text = FakeCudart(version=13020), 'cuda 12.6 became 13.2'
    open_engines().obtain(LADDER[0])
    assert len(rig.builder.built) == 1 and text in caplog.text


def test_a_plan_that_tensorrt_refuses_is_deleted_and_built_again(rig, open_engines, caplog):
    engines = open_engines()
    key, record = engines.obtain(LADDER[0])
    plan = engines._cache.plan(key, record)
    engines._cache.store(key, b'rubbish' + plan, {'passed': True}, {})
    engine = engines.load(rig.log, LADDER[0], lambda size: None)
    assert len(rig.builder.built) == 2 and 'deleted and built again' in caplog.text
    engine.close()


def test_a_plan_that_is_refused_again_after_a_build_is_an_error(rig, open_engines):
    engines = open_engines()

    class Refusing:
        def __init__(self, log):
            pass

        def deserialize_cuda_engine(self, plan):
            return None

    engines._trt.Runtime = Refusing
    with pytest.raises(RuntimeError, match='a new engine cannot be used either.*could not load'):
        engines.load(rig.log, LADDER[0], lambda size: None)
    assert len(rig.builder.built) == 2


def test_an_engine_too_large_for_the_device_is_not_built_again(rig, open_engines):
    engines = open_engines()
    engines.obtain(LADDER[0])
    rig.cudart.total = 100
    with pytest.raises(RuntimeError, match='could not load .*out of memory.*fewer operating'):
        engines.load(rig.log, LADDER[0], lambda size: None)
    assert len(rig.builder.built) == 1


def test_a_lost_device_costs_no_engine(rig, open_engines):
    engines = open_engines()
    key, record = engines.obtain(LADDER[0])
    rig.cudart.lost = 700
    with pytest.raises(RuntimeError, match='cudaErrorIllegalAddress'):
        engines.load(rig.log, LADDER[0], lambda size: None)
    assert engines._cache.find(key) == record


def test_an_engine_that_fails_its_check_in_half_precision_is_built_in_float32(
    rig, open_engines, caplog
):
    rig.behaviour = Behaviour(wrong=('fp16',))
    key, record = open_engines().obtain(LADDER[1])
    assert key.precision == 'fp32' and record.passed
    assert [name[-4:] for name in rig.builder.built] == ['fp16', 'fp32']
    assert 'fp16 is not used: only' in caplog.text
    assert open_engines().obtain(LADDER[1]) == (key, record)
    assert rig.builder.built == []  # both verdicts are on record


def test_engines_that_fail_in_both_precisions_are_an_error_that_is_remembered(rig, open_engines):
    rig.behaviour = Behaviour(wrong=('fp32',), not_finite=('fp16',))
    text = r'something else than ONNX Runtime \(fp16: boxes are not finite; fp32: only'
    for builds in (2, 0):
        with pytest.raises(RuntimeError, match=f'{text}.*--sampling gather.*delete'):
            open_engines().obtain(LADDER[1])
        assert len(rig.builder.built) == builds
    assert not list(rig.cache.glob('*.plan'))


def test_progress_names_the_engine(rig, open_engines):
    told = []
    open_engines(progress=told.append).obtain(LADDER[0])
    assert told[0] == 'engine 00-0@64x64 fp16 waits for its turn'


def test_a_builder_that_leaves_nothing_is_an_error(rig, open_engines, monkeypatch):
    engines = open_engines()
    monkeypatch.setattr(rig.builder, 'build', lambda *arguments: None)
    with pytest.raises(RuntimeError, match='left no engine'):
        engines.obtain(LADDER[0])

"""The back end as the pipeline sees it."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.runtime.backends import open_runtime, RuntimeSettings
from anydepth_core.runtime.tensorrt.runtime import TensorRtRuntime
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour, VERSIONS
from tests.anydepth_core.runtime.tensorrt.support import (
    assert_same,
    COMMAND,
    random_images,
    reference,
    Rig,
)
from tests.anydepth_core.support.toy_bundle import (
    DETR_LADDER,
    LADDER,
    SPACE,
    write_toy_detr_bundle,
)

POINTS = [OperatingPoint(depth, (96, 96)) for depth in SPACE.all()]
SMALL, LARGE = OperatingPoint(SPACE.full, (32, 64)), OperatingPoint(SPACE.full, (160, 96))


@pytest.fixture(scope='module')
def expected(toy_bundle):
    return reference(toy_bundle)


@pytest.mark.parametrize('flavour', VERSIONS)
def test_every_version_gives_the_outputs_of_onnx_runtime(rig, expected, flavour):
    rig.flavour = flavour
    rig.build(*LADDER)
    with rig.runtime() as runtime:
        for seed, point in enumerate(LADDER * 2):
            images = random_images(point, seed)
            assert_same(runtime.run(images, point), expected.run(images, point), 0.5, 0.01)
    assert 'cudaGraphLaunch' in rig.cudart.calls


def test_a_detector_with_a_decoder_is_served(tmp_path):
    bundle = write_toy_detr_bundle(tmp_path / 'detr')
    rig = Rig(bundle, tmp_path / 'engines')
    rig.build(*DETR_LADDER)
    with rig.runtime() as runtime:
        for point in DETR_LADDER:
            images = random_images(point)
            assert_same(runtime.run(images, point), reference(bundle).run(images, point))


def test_a_point_that_is_not_in_the_cache_is_built_in_a_process(rig, monkeypatch, expected):
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    with rig.runtime(COMMAND) as runtime:
        images = random_images(LADDER[0])
        assert not runtime.ready(LADDER[0])
        assert_same(runtime.run(images, LADDER[0]), expected.run(images, LADDER[0]))
        assert runtime.ready(LADDER[0])


def test_open_runtime_offers_the_back_end_and_says_what_is_missing(toy_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(RuntimeError, match='JetPack'):
        open_runtime(toy_bundle, RuntimeSettings('tensorrt'))


def test_points_and_images_that_do_not_fit_are_refused(rig):
    rig.build(LADDER[1])
    with rig.runtime() as runtime:
        with pytest.raises(ValueError, match='multiples of 32'):
            runtime.prepare(OperatingPoint(SPACE.full, (100, 96)))
        with pytest.raises(ValueError, match='3 bits'):
            runtime.prepare(OperatingPoint(DepthConfig((True,) * 8), (96, 96)))
        images = random_images(LADDER[1])
        for wrong in (images[0], images[:, :, :64], images.astype(np.float64)):
            with pytest.raises(ValueError, match=r'\(1, 3, 96, 96\)'):
                runtime.run(wrong, LADDER[1])
        assert runtime.run(images[:, :, ::-1], LADDER[1])[0].shape == (4, 9)


def test_results_do_not_change_when_the_next_image_runs(rig, expected):
    rig.build(LADDER[1])
    with rig.runtime() as runtime:
        images = random_images(LADDER[1])
        first = runtime.run(images, LADDER[1])
        other = runtime.run(random_images(LADDER[1], 1), LADDER[1])
        assert_same(first, expected.run(images, LADDER[1]))
        assert np.abs(first[1] - other[1]).max() > 0.3


def test_larger_points_take_larger_buffers_and_smaller_ones_still_run(rig, expected):
    points = [SMALL, LADDER[1], LARGE]
    rig.build(*points)
    with rig.runtime() as runtime:
        for point in points:
            runtime.prepare(point)
        assert all(map(runtime.ready, points))
        for point in points * 2:
            images = random_images(point)
            assert_same(runtime.run(images, point), expected.run(images, point))
        launches = rig.cudart.calls.count('cudaGraphLaunch')
        assert launches == 6


def test_the_scratch_is_as_large_as_the_largest_needs_and_no_larger(rig):
    rig.behaviour = Behaviour(scratch=1 << 20)
    rig.build(SMALL, LARGE, LADDER[1])
    with rig.runtime() as runtime:
        weights = 0
        for point in (LARGE, SMALL, LADDER[1]):
            runtime.prepare(point)
            weights += next(reversed(runtime._residents._residents.values())).engine.plan_bytes
        assert 160 * 96 << 10 <= rig.cudart.used - weights < 1.1 * (160 * 96 << 10)


@pytest.mark.parametrize('flavour', ['8.6', '10.3'])
def test_an_engine_that_cannot_be_captured_is_enqueued(rig, expected, caplog, flavour):
    rig.flavour, rig.behaviour = flavour, Behaviour(no_capture=True)
    points = [SMALL, LADDER[1], LARGE]
    rig.build(*points)
    with rig.runtime() as runtime:
        for point in [*points, *points]:
            images = random_images(point)
            assert_same(runtime.run(images, point), expected.run(images, point))
    assert 'without a CUDA graph' in caplog.text
    assert 'cudaGraphLaunch' not in rig.cudart.calls


@pytest.mark.parametrize(
    'function', ['cudaStreamBeginCapture', 'cudaGraphInstantiate', 'cudaGraphUpload']
)
def test_a_capture_that_cuda_refuses_is_no_failure(rig, expected, function):
    rig.build(LADDER[1])
    rig.cudart.plan(function, 900)
    with rig.runtime() as runtime:
        images = random_images(LADDER[1])
        assert_same(runtime.run(images, LADDER[1]), expected.run(images, LADDER[1]))
    assert 'cudaGraphLaunch' not in rig.cudart.calls


def test_the_least_recently_used_engine_goes_first(rig):
    first, second, third = POINTS[:3]
    rig.build(first, second, third)
    with rig.runtime(max_points=2) as runtime:
        assert runtime.capacity == 2
        runtime.prepare(first)
        runtime.prepare(second)
        runtime.run(random_images(first), first)
        runtime.prepare(third)
        assert [runtime.ready(point) for point in (first, second, third)] == [True, False, True]
        runtime.prepare(first)
        runtime.prepare(second)
        assert [runtime.ready(point) for point in (first, second, third)] == [True, True, False]


def test_never_more_than_five_engines_are_kept(rig):
    rig.build(*POINTS[:6])
    with rig.runtime(max_points=20) as runtime:
        for point in POINTS[:6]:
            runtime.prepare(point)
        assert runtime.capacity == 5
        assert [runtime.ready(point) for point in POINTS[:6]] == [False] + [True] * 5


def test_large_engines_leave_room_for_fewer(rig, expected):
    rig.build(*POINTS[:4])
    largest = max(path.stat().st_size for path in rig.cache.glob('*.plan'))
    with rig.runtime() as runtime:
        runtime._residents._most_bytes = 2 * largest + 200
        for point in POINTS[:4]:
            runtime.prepare(point)
        assert runtime.capacity == 2
        assert [runtime.ready(point) for point in POINTS[:4]] == [False, False, True, True]
        images = random_images(POINTS[3])
        assert_same(runtime.run(images, POINTS[3]), expected.run(images, POINTS[3]))


def test_one_engine_is_kept_however_large_it_is(rig):
    rig.build(*POINTS[:2])
    with rig.runtime() as runtime:
        runtime._residents._most_bytes = 10
        for point in POINTS[:2]:
            runtime.prepare(point)
            runtime.run(random_images(point), point)
        assert runtime.capacity == 1 and not runtime.ready(POINTS[0])


@pytest.mark.parametrize(
    ('function', 'after'),
    [
        *(('cudaMalloc', after) for after in range(8)),
        *(('cudaHostAlloc', after) for after in range(6)),
        *(('cudaGraphInstantiate', after) for after in range(2)),
    ],
)
def test_a_point_without_memory_fails_alone(rig, expected, function, after):
    rig.build(SMALL, LARGE)
    with rig.runtime() as runtime:
        runtime.prepare(SMALL)
        rig.cudart.plan(function, *[0] * after, 2)
        with pytest.raises(RuntimeError, match='fewer operating points'):
            runtime.prepare(LARGE)
        assert not runtime.ready(LARGE)
        rig.cudart.planned.clear()
        for point in (SMALL, LARGE):
            images = random_images(point)
            assert_same(runtime.run(images, point), expected.run(images, point))


def test_without_memory_for_a_second_set_of_buffers_the_shared_ones_do(rig, expected, caplog):
    rig.build(LARGE, SMALL)
    with rig.runtime() as runtime:
        runtime.prepare(LARGE)
        rig.cudart.plan('cudaMalloc', 2)
        runtime.prepare(SMALL)
        assert 'frames wait' in caplog.text
        for point in (SMALL, LARGE):
            images = random_images(point)
            assert_same(runtime.run(images, point), expected.run(images, point))


@pytest.mark.parametrize('function', ['cudaGraphLaunch', 'cudaStreamSynchronize'])
def test_a_lost_device_fails_in_one_sentence_then_and_later(rig, function):
    rig.build(*LADDER[:2])
    with rig.runtime() as runtime:
        runtime.prepare(LADDER[0])
        rig.cudart.plan(function, 700)
        for _ in range(2):
            with pytest.raises(RuntimeError, match='GPU is lost.*start it again.*IllegalAddress'):
                runtime.run(random_images(LADDER[0]), LADDER[0])
        with pytest.raises(RuntimeError, match='GPU is lost'):
            runtime.prepare(LADDER[1])
        assert not runtime.ready(LADDER[0])


def test_a_device_lost_while_an_engine_is_loaded_is_noticed_too(rig):
    rig.build(*LADDER[:2])
    with rig.runtime() as runtime:
        runtime.prepare(LADDER[0])
        rig.cudart.plan('cudaStreamSynchronize', 719)
        with pytest.raises(RuntimeError, match='GPU is lost'):
            runtime.prepare(LADDER[1])
        with pytest.raises(RuntimeError, match='GPU is lost'):
            runtime.run(random_images(LADDER[0]), LADDER[0])


def test_a_closed_runtime_says_so_and_closes_twice(rig):
    rig.build(LADDER[0])
    with rig.runtime() as runtime:
        runtime.prepare(LADDER[0])
        runtime.close()
        assert not runtime.ready(LADDER[0])
        for call in (
            lambda: runtime.run(random_images(LADDER[0]), LADDER[0]),
            lambda: runtime.prepare(LADDER[0]),
        ):
            with pytest.raises(RuntimeError, match='closed'):
                call()


def test_close_ends_a_build_in_work(rig, monkeypatch):
    rig.behaviour = Behaviour(seconds=120)
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    errors = []

    with rig.runtime(COMMAND) as runtime:
        building = threading.Event()
        monkeypatch.setattr(runtime._engines, '_progress', lambda text: building.set())

        def prepare():
            try:
                runtime.prepare(LADDER[0])
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=prepare)
        thread.start()
        assert building.wait(30)
        runtime.close()
        thread.join(30)
        assert not thread.is_alive() and 'closed' in errors[0]


def test_a_ready_point_runs_while_another_is_built_loaded_and_warmed_up(
    rig, expected, monkeypatch
):
    """The other thread is held at each step; frames must go on meanwhile."""
    rig.build(SMALL, LARGE)
    with rig.runtime() as runtime:
        runtime.prepare(SMALL)
        images = random_images(SMALL)
        wanted = expected.run(images, SMALL)
        held, go_on = threading.Semaphore(0), threading.Semaphore(0)
        main = threading.get_ident()
        steps = []

        def hold(name, function):
            def call(*arguments):
                if threading.get_ident() != main:
                    steps.append(name)
                    held.release()
                    assert go_on.acquire(timeout=30)
                return function(*arguments)

            return call

        cuda, engines = runtime._cuda, runtime._engines
        monkeypatch.setattr(engines, 'obtain', hold('obtain', engines.obtain))
        monkeypatch.setattr(engines, 'load', hold('load', engines.load))
        for name in ('malloc', 'synchronize', 'begin_capture', 'end_capture', 'free', 'upload'):
            monkeypatch.setattr(cuda, name, hold(name, getattr(cuda, name)))
        thread = threading.Thread(target=runtime.prepare, args=(LARGE,))
        thread.start()
        while thread.is_alive():
            if held.acquire(timeout=0.05):
                assert_same(runtime.run(images, SMALL), wanted)
                go_on.release()
        thread.join()
        assert {'obtain', 'load', 'malloc', 'synchronize', 'end_capture', 'free'} <= set(steps)
        assert steps.count('begin_capture') == 2  # the new engine, and the old in new buffers
        assert_same(runtime.run(images, SMALL), wanted)
        assert runtime.ready(LARGE)


def test_threads_that_run_and_prepare_under_eviction_get_the_right_outputs(rig, expected):
    points = [*POINTS[:4], SMALL, LARGE]
    rig.build(*points)
    images = [random_images(point) for point in points]
    wanted = [expected.run(image, point) for image, point in zip(images, points)]
    problems = []

    def work(seed):
        random = np.random.default_rng(seed)
        for index in random.integers(0, len(points), 20):
            try:
                if seed % 2:
                    runtime.prepare(points[index])
                else:
                    assert_same(runtime.run(images[index], points[index]), wanted[index])
            except BaseException as error:
                problems.append(error)

    with rig.runtime(max_points=2) as runtime:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert sum(map(runtime.ready, points)) <= 2


def test_a_thread_of_another_device_works_on_the_right_one(rig, monkeypatch):
    rig.build(LADDER[0])
    rig.cudart.devices = 2
    threads = {}
    used = rig.cudart.cudaSetDevice

    def select(device):
        threads.setdefault(threading.get_ident(), set()).add(device)
        return used(device)

    with rig.runtime(device=1) as runtime:
        monkeypatch.setattr(runtime._cuda._library, 'cudaSetDevice', select, raising=False)
        loader = threading.Thread(target=runtime.prepare, args=(LADDER[0],))
        loader.start()
        loader.join()
        runtime.run(random_images(LADDER[0]), LADDER[0])
    assert list(threads.values()) == [{1}, {1}]


def test_a_tensorrt_that_is_too_old_is_refused(rig):
    trt = rig.trt()
    trt.__version__ = '8.4.1'
    with pytest.raises(RuntimeError, match='too old'):
        TensorRtRuntime(rig.bundle, rig.settings, trt, rig.cudart)

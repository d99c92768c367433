from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import itertools
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import onnxruntime
import pytest

from anydepth_core.data.preprocess import preprocess
from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.onnx_runtime import OnnxRuntime, session_options
from tests.anydepth_core.support.toy_bundle import (
    DETR_SPACE,
    picture,
    SPACE,
    toy_master,
    write_toy_bundle,
    write_toy_detr_bundle,
)

ONE = RuntimeSettings(threads=1)
IMAGES = preprocess(picture((1, 2, 0), (0, 0, 2)), (96, 96))[0]
POINTS = [OperatingPoint(depth, (96, 96)) for depth in SPACE.all()]


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp('runtime') / 'toy')


@pytest.fixture
def runtime(bundle):
    return OnnxRuntime(bundle, ONE)


@pytest.fixture(scope='module')
def expected():
    """Outputs of the master itself for each depth."""
    session = onnxruntime.InferenceSession(toy_master().SerializeToString())
    feeds = [{'images': IMAGES, 'depth_mask': np.array(point.depth.stages)} for point in POINTS]
    return [session.run(['boxes', 'scores'], feed) for feed in feeds]


def test_every_depth_gives_the_outputs_of_the_master(runtime, expected):
    for point, (boxes, scores) in zip(POINTS, expected):
        found = runtime.run(IMAGES, point)
        np.testing.assert_allclose(found[0], boxes[0], atol=1e-4)
        np.testing.assert_allclose(found[1], scores[0], atol=1e-5)
    assert len({float(scores.max()) for _, scores in expected}) > 3


def test_every_number_of_decoder_layers_gives_the_outputs_of_the_master(tmp_path):
    runtime = OnnxRuntime(write_toy_detr_bundle(tmp_path / 'detr'), ONE)
    session = onnxruntime.InferenceSession(toy_master(DETR_SPACE).SerializeToString())
    best = []
    for flags, layers in itertools.product(
        (DETR_SPACE.full.stages, DETR_SPACE.base.stages), (1, 2, 3, 4)
    ):
        feed = {
            'images': IMAGES,
            'depth_mask': np.array(flags),
            'decoder_layers': np.array(layers, np.int64),
        }
        boxes, scores = session.run(['boxes', 'scores'], feed)
        found = runtime.run(IMAGES, OperatingPoint(DepthConfig(flags, layers), (96, 96)))
        np.testing.assert_allclose(found[0], boxes[0], atol=1e-4)
        np.testing.assert_allclose(found[1], scores[0], atol=1e-6)
        best.append(float(scores.max()))
    assert len(set(best)) == 8


def test_every_size_that_is_a_multiple_of_32_can_be_served(runtime):
    for size in ((32, 32), (64, 160), (224, 96)):
        point = OperatingPoint(SPACE.full, size)
        boxes, scores = runtime.run(np.zeros((1, 3, *size), np.float32), point)
        anchors = size[0] * size[1] // 32**2
        assert boxes.shape == (4, anchors) and scores.shape == (3, anchors)


@pytest.mark.parametrize('size', [(100, 96), (0, 32), (96, 16)])
def test_other_sizes_are_refused(runtime, size):
    with pytest.raises(ValueError, match='multiples of 32'):
        runtime.prepare(OperatingPoint(SPACE.full, size))


def test_a_depth_of_another_detector_is_refused(runtime):
    with pytest.raises(ValueError, match='3 bits'):
        runtime.prepare(OperatingPoint(DepthConfig((True,) * 8), (96, 96)))


@pytest.mark.parametrize(
    'images',
    [IMAGES[0], IMAGES[:, :, :64], IMAGES.astype(np.float64), np.concatenate((IMAGES, IMAGES))],
    ids=['no batch', 'other size', 'double', 'two images'],
)
def test_images_that_do_not_fit_the_point_are_refused(runtime, images):
    with pytest.raises(ValueError, match=r'\(1, 3, 96, 96\)'):
        runtime.run(images, POINTS[0])


def test_prepare_makes_a_point_ready_whatever_its_metrics(runtime):
    assert not runtime.ready(POINTS[0])
    runtime.prepare(POINTS[0])
    assert runtime.ready(POINTS[0])
    assert runtime.ready(replace(POINTS[0], metrics=(('AP', 0.5),)))
    assert not runtime.ready(POINTS[1])
    assert not runtime.ready(OperatingPoint(POINTS[0].depth, (64, 64)))


def test_the_least_recently_used_session_goes_first(bundle):
    runtime = OnnxRuntime(bundle, replace(ONE, max_points=2))
    first, second, third = POINTS[:3]
    runtime.prepare(first)
    runtime.prepare(second)
    runtime.run(IMAGES, first)
    runtime.prepare(third)
    assert [runtime.ready(point) for point in (first, second, third)] == [True, False, True]
    runtime.run(IMAGES, second)
    assert [runtime.ready(point) for point in (first, second, third)] == [False, True, True]


def test_a_session_is_built_once(bundle, monkeypatch):
    runtime = OnnxRuntime(bundle, ONE)
    built = []
    build = runtime._build
    monkeypatch.setattr(runtime, '_build', lambda point: built.append(point) or build(point))
    threads = [threading.Thread(target=runtime.run, args=(IMAGES, POINTS[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [POINTS[0]]


def test_threads_that_switch_depth_under_eviction_get_the_right_outputs(bundle, expected):
    runtime = OnnxRuntime(bundle, replace(ONE, max_points=2))
    wrong = []

    def switch(seed):
        order = np.random.default_rng(seed).integers(0, len(POINTS), 25)
        for index in order:
            scores = runtime.run(IMAGES, POINTS[index])[1]
            if not np.allclose(scores, expected[index][1][0], atol=1e-5):
                wrong.append(index)

    threads = [threading.Thread(target=switch, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and sum(runtime.ready(point) for point in POINTS) == 2


@settings(max_examples=10, deadline=None)
@given(
    capacity=st.integers(1, 3),
    orders=st.lists(st.lists(st.sampled_from(range(8)), max_size=6), min_size=2, max_size=3),
)
def test_whatever_threads_ask_for_the_room_is_never_exceeded(bundle, expected, capacity, orders):
    runtime = OnnxRuntime(bundle, replace(ONE, max_points=capacity))
    found = []

    def ask(order):
        for index in order:
            scores = runtime.run(IMAGES, POINTS[index])[1]
            right = np.allclose(scores, expected[index][1][0], atol=1e-5)
            found.append((right, sum(map(runtime.ready, POINTS))))

    with ThreadPoolExecutor(len(orders)) as threads:
        list(threads.map(ask, orders))
    assert all(right and ready <= capacity for right, ready in found)
    asked = {index for order in orders for index in order}
    assert sum(map(runtime.ready, POINTS)) == min(capacity, len(asked))


def test_a_session_keeps_no_copy_of_the_model_it_was_built_from(bundle):
    runtime = OnnxRuntime(bundle, ONE)
    runtime.prepare(POINTS[0])
    (session,) = runtime._sessions.values()
    assert not any(isinstance(value, bytes) for value in vars(session).values())


def test_a_switch_to_a_ready_point_builds_nothing(bundle, monkeypatch):
    runtime = OnnxRuntime(bundle, ONE)
    for point in POINTS[:3]:
        runtime.prepare(point)
    monkeypatch.setattr(runtime, '_build', lambda point: pytest.fail('it was ready'))
    for point in POINTS[:3] * 3:
        runtime.prepare(point)
        runtime.run(IMAGES, point)


def test_closing_during_a_build_keeps_nothing(bundle, monkeypatch):
    runtime = OnnxRuntime(bundle, ONE)
    building, release, build = threading.Event(), threading.Event(), runtime._build

    def slow(point):
        building.set()
        assert release.wait(20)
        return build(point)

    monkeypatch.setattr(runtime, '_build', slow)
    thread = threading.Thread(target=runtime.prepare, args=(POINTS[0],))
    thread.start()
    assert building.wait(20)
    runtime.close()
    release.set()
    thread.join()
    assert not runtime.ready(POINTS[0])
    with pytest.raises(RuntimeError, match='closed'):
        runtime.prepare(POINTS[0])


def test_half_precision_comes_close_to_the_master(bundle, expected):
    runtime = OnnxRuntime(bundle, replace(ONE, precision='fp16'))
    for point, (boxes, scores) in zip(POINTS, expected):
        found = runtime.run(IMAGES, point)
        assert found[0].dtype == found[1].dtype == np.float32
        np.testing.assert_allclose(found[0], boxes[0], atol=0.5)
        np.testing.assert_allclose(found[1], scores[0], atol=0.01)


def test_a_ready_point_runs_while_another_is_being_built(bundle, monkeypatch):
    runtime = OnnxRuntime(bundle, ONE)
    runtime.prepare(POINTS[0])
    building, release = threading.Event(), threading.Event()
    build = runtime._build

    def slow(point):
        building.set()
        assert release.wait(20)
        return build(point)

    monkeypatch.setattr(runtime, '_build', slow)
    thread = threading.Thread(target=runtime.prepare, args=(POINTS[1],))
    thread.start()
    assert building.wait(20)
    runtime.run(IMAGES, POINTS[0])
    assert not runtime.ready(POINTS[1])
    release.set()
    thread.join()
    assert runtime.ready(POINTS[1])


def test_a_failed_build_leaves_the_runtime_usable(runtime):
    with pytest.raises(ValueError):
        runtime.prepare(OperatingPoint(SPACE.full, (33, 32)))
    assert runtime.run(IMAGES, POINTS[0])[0].shape == (4, 9)


def test_a_closed_runtime_says_so(runtime):
    runtime.prepare(POINTS[0])
    runtime.close()
    assert not runtime.ready(POINTS[0])
    with pytest.raises(RuntimeError, match='closed'):
        runtime.run(IMAGES, POINTS[0])


@pytest.mark.parametrize(('spinning', 'value'), [(False, '0'), (True, '1')])
def test_threads_and_spinning_reach_the_session(spinning, value):
    options = session_options(RuntimeSettings(threads=2, spinning=spinning))
    assert options.get_session_config_entry('session.intra_op.allow_spinning') == value
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)

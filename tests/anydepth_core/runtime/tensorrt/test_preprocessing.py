"""Preprocessing on the device: the same detections, built beside the frames."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_core.runtime.tensorrt.preprocessors import MOST, Preprocessors
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour, VERSIONS
from tests.anydepth_core.runtime.tensorrt.support import COMMAND, reference, Rig
from tests.anydepth_core.support.toy_bundle import (
    DETR_LADDER,
    LADDER,
    write_toy_detr_bundle,
)

CAMERA = (130, 190)
IMAGE = np.zeros((*CAMERA, 3), np.uint8)
IMAGE[:, :, 2], IMAGE[30:, 100:] = 255, (255, 0, 0)
OTHER = np.ascontiguousarray(IMAGE[::-1, :96].repeat(2, 0)[:200])


def assert_same_detections(one: Pipeline, other: Pipeline, image: np.ndarray, point) -> None:
    expected, found = (np.array(rows(each(image, point)[0])) for each in (one, other))
    assert len(expected) and expected.shape == found.shape
    assert (np.abs(found - expected) < (0.1, 0.5, 0.5, 0.5, 0.5, 0.01)).all()


def rows(detections) -> list[tuple[float, ...]]:
    """Give label, box and score of each detection; equal scores come in any order."""
    columns = (detections.labels, *detections.boxes_xyxy_px.round(1).T, detections.scores)
    return sorted(zip(*columns))


def preprocessed_on_gpu(runtime, image, point) -> bool:
    return runtime.run_image(image, point) is not None


@pytest.fixture
def gpu(rig):
    """A runtime whose engines are in the cache, preprocessing of IMAGE and OTHER, too."""
    rig.build(*LADDER)
    for camera in (CAMERA, OTHER.shape[:2]):
        rig.build_preprocessing(camera, *LADDER)
    with rig.runtime(preprocess='runtime') as runtime:
        yield runtime


@pytest.mark.parametrize('flavour', VERSIONS)
def test_every_version_finds_what_the_cpu_preprocesses(rig, flavour):
    rig.flavour = flavour
    rig.build(*LADDER)
    rig.build_preprocessing(CAMERA, *LADDER)
    expected = Pipeline(rig.bundle, reference(rig.bundle))
    with rig.runtime(preprocess='runtime') as runtime:
        pipeline = Pipeline(rig.bundle, runtime)
        for point in LADDER * 2:
            pipeline.prepare(point, CAMERA)
            assert preprocessed_on_gpu(runtime, IMAGE, point)
            assert_same_detections(expected, pipeline, IMAGE, point)


def test_a_detector_that_stretches_is_preprocessed_too(tmp_path):
    rig = Rig(write_toy_detr_bundle(tmp_path / 'detr'), tmp_path / 'engines')
    rig.build(*DETR_LADDER)
    rig.build_preprocessing(CAMERA, *DETR_LADDER)
    expected = Pipeline(rig.bundle, reference(rig.bundle))
    with rig.runtime(preprocess='runtime') as runtime:
        for point in DETR_LADDER:
            runtime.prepare(point, CAMERA)
            assert_same_detections(expected, Pipeline(rig.bundle, runtime), IMAGE, point)


def test_cameras_and_levels_alternate(gpu, rig):
    expected, pipeline = Pipeline(rig.bundle, reference(rig.bundle)), Pipeline(rig.bundle, gpu)
    for image in (IMAGE, OTHER):
        for point in LADDER:
            gpu.prepare(point, image.shape[:2])
    for point in (*LADDER, *LADDER[::-1]):
        for image in (IMAGE, OTHER, IMAGE[::-1, ::-1]):
            assert preprocessed_on_gpu(gpu, image, point)
            assert_same_detections(expected, pipeline, image, point)
    assert gpu.capacity == 5 and all(map(gpu.ready, LADDER))


def test_it_must_be_asked_for(rig):
    rig.build(LADDER[0])
    with rig.runtime() as runtime:
        runtime.prepare(LADDER[0], CAMERA)
        assert not preprocessed_on_gpu(runtime, IMAGE, LADDER[0])
    assert len(list(rig.cache.glob('*.plan'))) == 1


def test_a_new_size_is_built_beside_the_frames_that_the_cpu_preprocesses(rig, monkeypatch):
    rig.build(LADDER[0])
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    with rig.runtime(COMMAND, preprocess='runtime') as runtime:
        pipeline = Pipeline(rig.bundle, runtime)
        go_on, loaded = threading.Event(), threading.Event()
        load = runtime._engines.load_preprocessing

        def held(*arguments):
            assert go_on.wait(30)
            return load(*arguments)

        add = runtime._residents.add
        monkeypatch.setattr(runtime._engines, 'load_preprocessing', held)
        monkeypatch.setattr(
            runtime._residents, 'add', lambda *arguments: (add(*arguments), loaded.set())
        )
        runtime.prepare(LADDER[0])
        loaded.clear()
        for _ in range(3):
            assert len(pipeline(IMAGE, LADDER[0])[0])
            assert not preprocessed_on_gpu(runtime, IMAGE, LADDER[0])
        go_on.set()
        assert loaded.wait(30)
        runtime.prepare(LADDER[0], CAMERA)  # waits until it is in use
        assert preprocessed_on_gpu(runtime, IMAGE, LADDER[0])
        assert runtime.ready(LADDER[0])


def test_preprocessing_that_gives_other_pixels_is_not_used(rig, monkeypatch, caplog):
    rig.build(LADDER[0])
    rig.behaviour = Behaviour(wrong=('fp32',))
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    with rig.runtime(COMMAND, preprocess='runtime') as runtime:
        text = 'preprocesses otherwise than the CPU .pixels differ by up to .* update TensorRT'
        for _ in range(2):  # the verdict is remembered
            with pytest.raises(RuntimeError, match=text):
                runtime.prepare(LADDER[0], CAMERA)
        assert runtime.ready(LADDER[0])
        assert len(Pipeline(rig.bundle, runtime)(IMAGE, LADDER[0])[0])
    assert not list(rig.cache.glob('letterbox*.plan'))
    assert len(list(rig.cache.glob('letterbox*.json'))) == 1


def test_a_failed_build_is_told_once_and_frames_go_on(caplog):
    calls = []

    def fail(sizes):
        calls.append(sizes)
        raise RuntimeError('no memory: close other programs')

    preprocessors = Preprocessors(fail)
    for _ in range(3):
        assert not preprocessors.ready((CAMERA, (96, 96)))
        _wait_for_threads()
    assert calls == [(CAMERA, (96, 96))]
    assert caplog.text.count('130x190 are preprocessed on the CPU: no memory') == 1


def test_a_load_that_the_end_of_the_runtime_ends_is_no_warning(rig, monkeypatch, caplog):
    rig.build(LADDER[0])
    rig.behaviour = Behaviour(seconds=120)
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    with rig.runtime(COMMAND, preprocess='runtime') as runtime:
        building = threading.Event()
        monkeypatch.setattr(runtime._engines, '_progress', lambda text: building.set())
        runtime.prepare(LADDER[0])
        assert not preprocessed_on_gpu(runtime, IMAGE, LADDER[0])
        assert building.wait(30)
    _wait_for_threads()
    assert 'on the CPU' not in caplog.text


def test_only_so_many_sizes_are_built(caplog):
    calls = []
    preprocessors = Preprocessors(calls.append)
    for height in range(1, MOST + 5):
        preprocessors.ready(((height, 10), (96, 96)))
    _wait_for_threads()
    assert len(calls) == MOST
    assert caplog.text.count('further ones stay on the CPU') == 1
    with pytest.raises(RuntimeError, match='further ones have no room: leave'):
        preprocessors.load(((MOST + 1, 10), (96, 96)))
    assert preprocessors.ready(((MOST, 10), (96, 96)))
    assert not preprocessors.ready(((MOST + 1, 10), (96, 96)))


def test_without_memory_for_a_larger_image_the_network_still_runs(gpu, rig, caplog):
    gpu.prepare(LADDER[0])
    rig.cudart.plan('cudaMalloc', *[0] * 3, 2)
    with pytest.raises(RuntimeError, match='close other programs'):
        gpu.prepare(LADDER[0], CAMERA)
    rig.cudart.planned.clear()
    pipeline = Pipeline(rig.bundle, gpu)
    assert len(pipeline(IMAGE, LADDER[0])[0])
    gpu.prepare(LADDER[0], CAMERA)
    assert preprocessed_on_gpu(gpu, IMAGE, LADDER[0]) and len(pipeline(IMAGE, LADDER[0])[0])


def test_a_lost_device_is_noticed(gpu, rig):
    gpu.prepare(LADDER[0], CAMERA)
    rig.cudart.plan('cudaGraphLaunch', 700)
    for _ in range(2):
        with pytest.raises(RuntimeError, match='GPU is lost'):
            gpu.run_image(IMAGE, LADDER[0])


def test_without_cuda_graphs_it_is_enqueued(rig):
    rig.behaviour = Behaviour(no_capture=True)
    rig.build(*LADDER)
    rig.build_preprocessing(CAMERA, *LADDER)
    expected = Pipeline(rig.bundle, reference(rig.bundle))
    with rig.runtime(preprocess='runtime') as runtime:
        for point in LADDER:
            runtime.prepare(point, CAMERA)
            assert_same_detections(expected, Pipeline(rig.bundle, runtime), IMAGE, point)
    assert 'cudaGraphLaunch' not in rig.cudart.calls


def test_the_record_is_kept_under_the_size_of_the_camera(rig, caplog):
    caplog.set_level(logging.INFO)
    rig.build_preprocessing(CAMERA, LADDER[0])
    (path,) = rig.cache.glob('*.plan')
    assert path.name.startswith('letterbox-130x190@64x64-fp32-')
    rig.build_preprocessing(CAMERA, LADDER[0])
    assert len(list(rig.cache.glob('*.plan'))) == 1


def test_another_back_end_refuses(rig):
    with pytest.raises(ValueError, match='onnxruntime does not preprocess on the GPU.*tensorrt'):
        RuntimeSettings(preprocess='runtime')


def _wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == 'anydepth-preprocessing':
            thread.join(10)

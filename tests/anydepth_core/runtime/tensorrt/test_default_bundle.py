"""The default bundle: the same detections as the ONNX Runtime back end."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from anydepth_core.export.bundle import load_bundle
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_core.runtime.tensorrt import build_process, products
from tests.anydepth_core.runtime.tensorrt.support import (
    assert_same,
    random_images,
    reference,
    Rig,
)


def frames(path, count):
    video = cv2.VideoCapture(str(path))
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    for index in range(0, total, total // count):
        video.set(cv2.CAP_PROP_POS_FRAMES, index)
        read, frame = video.read()
        assert read
        yield frame
    video.release()


@pytest.mark.parametrize(
    ('flavour', 'precision', 'any_box_px'), [('8.6', 'fp16', 1.0), ('11', 'fp32', 0.01)]
)
def test_frames_and_noise_give_the_same_detections(
    pytestconfig, tmp_path, monkeypatch, flavour, precision, any_box_px
):
    monkeypatch.setattr(products, 'IMAGES', 2)
    monkeypatch.setattr(build_process, 'TIMED_RUNS', 1)
    bundle = load_bundle(pytestconfig.rootpath / 'config/models/default')
    rig = Rig(bundle, tmp_path / 'engines', flavour)
    points = [bundle.ladder[0], bundle.ladder[-1]]
    rig.build(*points, precision=precision)
    expected, found = reference(bundle), 0
    with rig.runtime(precision=precision) as runtime:
        pipelines = [Pipeline(bundle, each) for each in (expected, runtime)]
        for point in points:
            for frame in frames(pytestconfig.rootpath / 'config/media/fod_clip.mp4', 6):
                one, other = (pipeline(frame, point)[0] for pipeline in pipelines)
                assert list(one.labels) == list(other.labels)
                np.testing.assert_allclose(one.boxes_xyxy_px, other.boxes_xyxy_px, atol=0.5)
                np.testing.assert_allclose(one.scores, other.scores, atol=0.01)
                found += len(one)
            for seed in range(3):
                images = random_images(point, seed)
                outputs = (each.run(images, point) for each in (runtime, expected))
                assert_same(*outputs, any_box_px)
    assert found > 10

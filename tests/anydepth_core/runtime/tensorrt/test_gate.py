from __future__ import annotations

from hypothesis import given, settings, strategies
import numpy as np
import pytest

from anydepth_core.runtime.tensorrt.gate import judge, sample_images

IMAGES = [np.zeros((1, 3, 32, 32), np.float32)] * 2


def outputs(seed=0, anchors=120, classes=3):
    random = np.random.default_rng(seed)
    boxes = random.uniform(20, 600, (4, anchors)).astype(np.float32)
    return boxes, random.uniform(0, 1, (classes, anchors)).astype(np.float32)


def verdict(given, expected=None):
    return judge(lambda image: expected or outputs(), lambda image: given, IMAGES)


def test_equal_outputs_pass_and_the_detections_are_counted():
    result = verdict(outputs())
    assert result.passed and result.reason == ''
    assert result.detections == 4 * int((outputs()[1] >= 0.25).sum())
    assert (result.agreement, result.worst, result.mean_score) == (1.0, 0.0, 0.0)


@given(strategies.integers(0, 1000), strategies.floats(0, 0.9))
@settings(max_examples=20, deadline=None)
def test_noise_within_the_tolerance_passes_in_any_order_of_the_anchors(seed, size):
    boxes, scores = outputs()
    random = np.random.default_rng(seed)
    order = random.permutation(boxes.shape[1])
    noisy = boxes + random.uniform(-size, size, boxes.shape)
    near = scores + random.uniform(-0.01 * size, 0.01 * size, scores.shape)
    assert verdict((noisy[:, order], near[:, order])).passed


def test_shifted_boxes_fail():
    boxes, scores = outputs()
    result = verdict((boxes + 12, scores))
    assert not result.passed and 'detections agree' in result.reason


def test_detections_that_the_reference_has_not_fail():
    boxes, scores = outputs()
    few = np.where(np.arange(120) < 60, scores, 0.01)
    result = verdict((boxes, scores), (boxes, few))
    assert not result.passed


def test_missing_detections_fail():
    boxes, scores = outputs()
    assert not verdict((boxes, np.where(np.arange(120) < 60, scores, 0.01))).passed


def test_another_label_fails():
    boxes, scores = outputs()
    assert not verdict((boxes, scores[::-1])).passed


def test_scores_below_every_detection_are_compared_too():
    boxes, scores = outputs()
    low = 0.2 * scores
    result = verdict((boxes, 0.5 * low), (boxes, low))
    assert result.detections == 0 and not result.passed
    assert 'highest scores' in result.reason


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_numbers_that_are_none_fail(value):
    boxes, scores = outputs()
    broken = boxes.copy()
    broken[0, 7] = value
    result = verdict((broken, scores))
    assert not result.passed and result.reason == 'boxes are not finite'


def test_other_shapes_fail():
    assert 'shape' in verdict(outputs(anchors=64)).reason


def test_drawn_scenes_are_the_same_each_time_and_differ_from_each_other():
    first, again = (sample_images(None, 4, (64, 96), 'letterbox') for _ in range(2))
    assert len(first) == 4 and first[0].shape == (1, 3, 64, 96)
    assert all(np.array_equal(one, two) for one, two in zip(first, again))
    assert not np.array_equal(first[0], first[1])


def test_frames_of_a_video_and_images_of_a_folder_are_spread_over_it(pytestconfig, tmp_path):
    import cv2

    video = pytestconfig.rootpath / 'config/media/fod_clip.mp4'
    frames = sample_images(video, 5, (64, 64), 'letterbox')
    assert len(frames) == 5
    for index in range(9):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((20, 30, 3), 20 * index, np.uint8))
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    images = sample_images(tmp_path, 4, (32, 32), 'stretch')
    assert len(images) == 4 and len({float(image.mean()) for image in images}) == 4


def test_a_source_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match='no image'):
        sample_images(tmp_path, 4, (32, 32), 'stretch')

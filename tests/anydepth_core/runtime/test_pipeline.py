from __future__ import annotations

import math

import numpy as np
import pytest

from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.models.postprocess import PostprocessSettings
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.pipeline import load_pipeline
from tests.anydepth_core.support.toy_bundle import (
    DETR_LADDER,
    DETR_SPACE,
    LADDER,
    picture,
    SPACE,
    write_toy_bundle,
    write_toy_detr_bundle,
)


@pytest.fixture(scope='module')
def pipeline(tmp_path_factory):
    bundle = write_toy_bundle(tmp_path_factory.mktemp('pipeline') / 'toy')
    return load_pipeline(bundle.path, RuntimeSettings(threads=1))


@pytest.fixture(scope='module')
def detr(tmp_path_factory):
    bundle = write_toy_detr_bundle(tmp_path_factory.mktemp('pipeline') / 'detr')
    return load_pipeline(bundle.path, RuntimeSettings(threads=1))


def test_one_object_is_found_in_pixels_of_the_received_image(pipeline):
    detections, timing = pipeline(picture((1, 2, 0)))
    assert detections.labels.tolist() == [0]
    np.testing.assert_allclose(detections.boxes_xyxy_px, [[56, 24, 96, 72]], atol=1e-3)
    assert 0.9 < detections.scores[0] < 1
    steps = (timing.preprocess_ms, timing.inference_ms, timing.postprocess_ms)
    assert all(step > 0 for step in steps) and math.isclose(timing.total_ms, sum(steps))


def test_a_larger_image_gives_larger_boxes(pipeline):
    image = np.zeros((480, 960, 3), np.uint8)
    image[160:320, 320:640, 1] = 255
    detections, _ = pipeline(image)
    assert detections.labels.tolist() == [1]
    np.testing.assert_allclose(detections.boxes_xyxy_px, [[240, 0, 720, 480]], atol=1e-3)


def test_an_empty_image_gives_no_detections(pipeline):
    detections, _ = pipeline(picture())
    assert len(detections) == 0 and detections.boxes_xyxy_px.shape == (0, 4)


@pytest.mark.parametrize('shape', [(1, 1), (71, 101), (97, 61), (333, 500)])
def test_odd_image_sizes_are_served_and_boxes_stay_inside(pipeline, shape):
    image = np.zeros((*shape, 3), np.uint8)
    image[..., 0] = 255
    detections, _ = pipeline(image, 'base')
    assert len(detections) and set(detections.labels.tolist()) == {2}
    assert detections.boxes_xyxy_px.min() >= 0
    assert np.all(detections.boxes_xyxy_px.max(axis=0) <= np.array([shape[1], shape[0]] * 2))


def test_an_image_of_one_row_is_served(pipeline):
    assert len(pipeline(np.zeros((1, 500, 3), np.uint8))[0]) == 0


def test_depth_changes_scores_and_nothing_else_carries_over(pipeline):
    image = picture((1, 1, 1))
    first = {depth: pipeline(image, depth)[0] for depth in ('full', 'base', '10-1')}
    assert first['full'].scores[0] > first['10-1'].scores[0] > first['base'].scores[0]
    for depth in ('base', 'full', '10-1', 'full', 'base', 'base'):
        pipeline(picture((0, 0, 2)), depth)
        again = pipeline(image, depth)[0]
        np.testing.assert_array_equal(again.scores, first[depth].scores)
        np.testing.assert_array_equal(again.boxes_xyxy_px, first[depth].boxes_xyxy_px)


def test_a_level_runs_at_its_own_input_size(pipeline):
    assert pipeline.resolve(0) == LADDER[0]
    assert pipeline.resolve('2') == LADDER[2]
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32, 2] = 255
    detections, _ = pipeline(image, 0)
    np.testing.assert_allclose(detections.boxes_xyxy_px, [[0, 0, 40, 40]], atol=1e-3)


def test_every_form_of_a_depth_is_understood(pipeline):
    for depth in ('full', '11-1', SPACE.full, 2, LADDER[2], OperatingPoint(SPACE.full, (96, 96))):
        point = pipeline.resolve(depth)
        assert (point.depth, point.image_size) == (SPACE.full, (96, 96))


@pytest.mark.parametrize(
    'depth', [3, -1, 'half', '1111', '1-11', '', None, True, 1.0, DepthConfig((True,))]
)
def test_a_wrong_depth_is_refused_with_the_legal_forms(pipeline, depth):
    with pytest.raises(ValueError, match='full.*base') as refusal:
        pipeline(picture(), depth)
    assert '\n' not in str(refusal.value) and '0' in str(refusal.value)


def test_a_wrong_operating_point_is_refused(pipeline):
    with pytest.raises(ValueError, match='multiples of 32'):
        pipeline(picture(), OperatingPoint(SPACE.full, (50, 96)))
    with pytest.raises(ValueError, match='3 bits'):
        pipeline(picture(), OperatingPoint(DepthConfig((True,)), (96, 96)))


@pytest.mark.parametrize(
    'image',
    [
        None,
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), np.uint8),
    ],
    ids=['none', 'gray', 'four channels', 'double', 'no rows'],
)
def test_a_wrong_image_is_refused_and_the_next_one_is_served(pipeline, image):
    with pytest.raises(ValueError, match='the image'):
        pipeline(image)
    assert len(pipeline(picture((0, 0, 0)))[0]) == 1


def test_settings_of_a_call_win_over_those_of_the_pipeline(pipeline):
    image = picture((0, 0, 0), (2, 2, 1))
    assert len(pipeline(image)[0]) == 2
    assert len(pipeline(image, settings=PostprocessSettings(confidence=1.0))[0]) == 0
    assert pipeline(image, settings=PostprocessSettings(classes=(1,)))[0].labels.tolist() == [1]
    assert len(pipeline(image)[0]) == 2


def test_prepare_makes_a_depth_ready(tmp_path):
    pipeline = load_pipeline(write_toy_bundle(tmp_path / 'toy').path, RuntimeSettings(threads=1))
    point = pipeline.prepare('base')
    assert pipeline.runtime.ready(point) and not pipeline.runtime.ready(pipeline.resolve('full'))
    pipeline.close()
    with pytest.raises(RuntimeError, match='closed'):
        pipeline(picture())


def test_a_bundle_that_stretches_maps_boxes_back_with_two_scales(pipeline, detr):
    image = np.zeros((480, 960, 3), np.uint8)
    image[160:320, 320:640, 1] = 255
    detections, _ = detr(image)
    assert detections.labels.tolist() == [1]
    np.testing.assert_allclose(detections.boxes_xyxy_px, [[240, 120, 720, 360]], atol=1e-3)


def test_a_bundle_without_suppression_keeps_boxes_that_overlap(pipeline, detr):
    image, strict = picture((1, 0, 0), (1, 1, 0)), PostprocessSettings(iou=0.0)
    assert len(pipeline(image, settings=strict)[0]) == 1
    assert len(detr(image, settings=strict)[0]) == 2
    best = PostprocessSettings(iou=0.0, max_detections=1)
    assert len(detr(image, settings=best)[0]) == 1


def test_decoder_layers_are_part_of_the_depth(detr):
    image = picture((1, 1, 1))
    depths = ('0000-0d1', 'base', '0000-0', '0000-0d4')
    scores = [float(detr(image, depth)[0].scores[0]) for depth in depths]
    assert scores == sorted(scores) and len(set(scores)) == 4
    assert detr.resolve('0000-0').depth.decoder_layers == 3
    assert detr.resolve('base') == DETR_LADDER[1] and detr.resolve(2) == DETR_LADDER[2]
    assert detr.bundle.space.format(DETR_SPACE.full) == '1111-1d3'


@pytest.mark.parametrize('depth', ['0000-0d5', '0000-0d0', '0000-0d', '0000', '0000d2'])
def test_a_wrong_number_of_decoder_layers_is_refused_with_the_legal_ones(detr, depth):
    with pytest.raises(ValueError, match='1 to 4 decoder layers'):
        detr(picture(), depth)

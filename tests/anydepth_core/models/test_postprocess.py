from __future__ import annotations

from dataclasses import replace
import warnings

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.data.preprocess import fill, fit
from anydepth_core.models.postprocess import (
    EVALUATION,
    non_maximum_suppression,
    postprocess,
    PostprocessSettings,
    SUPPRESSIONS,
)

SQUARE = fit((320, 320), (320, 320))


def plain_nms(boxes, labels, iou, limit):
    """Reference: box by box, in Python floats."""
    kept = []
    for index, (box, label) in enumerate(zip(boxes.tolist(), labels.tolist())):
        if len(kept) == limit:
            break
        if all(
            labels[other] != label or plain_iou(boxes[other].tolist(), box) <= iou
            for other in kept
        ):
            kept.append(index)
    return kept


def plain_iou(one, two):
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    union = (
        (one[2] - one[0]) * (one[3] - one[1])
        + (two[2] - two[0]) * (two[3] - two[1])
        - width * height
    )
    return width * height / union


def random_output(rng, anchors=400, classes=5, side=320):
    """Whole-pixel boxes, so that overlaps have no rounding, and distinct scores."""
    sizes = 2 * rng.integers(2, 60, (2, anchors))
    boxes = np.concatenate((rng.integers(0, side, (2, anchors)), sizes)).astype(np.float32)
    scores = rng.permutation(classes * anchors).reshape(classes, anchors) / (classes * anchors)
    return boxes, scores.astype(np.float32)


def one_object(score=0.9, label=1, anchor=3, anchors=10, classes=4):
    boxes = np.tile(np.array([[160.0], [100.0], [40.0], [20.0]], np.float32), (1, anchors))
    scores = np.full((classes, anchors), 0.01, np.float32)
    scores[label, anchor] = score
    return boxes, scores


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 600),
    st.integers(1, 4),
    st.sampled_from([0.1, 0.45, 0.7, 1.0]),
)
def test_suppression_equals_the_plain_reference(seed, count, classes, iou):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate((corners, corners + rng.integers(1, 40, (count, 2))), axis=1).astype(
        np.float32
    )
    labels = rng.integers(0, classes, count)
    for limit in (5, 300):
        found = non_maximum_suppression(boxes, labels, iou, limit).tolist()
        assert found == plain_nms(boxes, labels, iou, limit)


@pytest.mark.parametrize('multi_label', [False, True])
def test_postprocess_equals_the_plain_reference(multi_label):
    boxes, scores = random_output(np.random.default_rng(1))
    limits = PostprocessSettings(
        confidence=0.5, iou=0.5, max_detections=200, multi_label=multi_label
    )
    found = postprocess(boxes, scores, SQUARE, limits)

    pairs = [
        (-scores[label, anchor], label, anchor)
        for anchor in range(scores.shape[1])
        for label in (range(scores.shape[0]) if multi_label else [scores[:, anchor].argmax()])
        if scores[label, anchor] >= 0.5
    ]
    pairs.sort()
    labels = np.array([label for _, label, _ in pairs])
    cx, cy, width, height = boxes[:, [anchor for _, _, anchor in pairs]]
    corners = np.stack((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2), axis=1)
    kept = plain_nms(corners, labels, 0.5, 200)
    assert len(kept) > 50
    np.testing.assert_allclose(found.boxes_xyxy_px, corners[kept].clip(0, 320))
    assert found.labels.tolist() == labels[kept].tolist()
    np.testing.assert_allclose(found.scores, [-pairs[index][0] for index in kept])


@pytest.mark.parametrize('multi_label', [False, True])
def test_without_suppression_the_best_are_kept_whatever_they_overlap(multi_label):
    boxes, scores = random_output(np.random.default_rng(4), anchors=40, classes=7, side=20)
    limits = PostprocessSettings(
        confidence=0.2, iou=0.0, max_detections=25, multi_label=multi_label
    )
    found = postprocess(boxes, scores, SQUARE, limits, 'none')
    pairs = [
        (scores[label, anchor], label, anchor)
        for anchor in range(40)
        for label in (range(7) if multi_label else [scores[:, anchor].argmax()])
    ]
    best = sorted(pairs, reverse=True)[:25]
    assert len(found) == 25 > len(postprocess(boxes, scores, SQUARE, limits))
    np.testing.assert_array_equal(found.scores, [score for score, _, _ in best])
    assert found.labels.tolist() == [label for _, label, _ in best]
    cx, cy, width, height = boxes[:, [anchor for _, _, anchor in best]]
    corners = np.stack((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2), axis=1)
    np.testing.assert_allclose(found.boxes_xyxy_px, corners.clip(0, 320))


def test_two_boxes_on_one_object_are_one_detection_or_two():
    boxes, scores = one_object()
    scores[1, 7] = 0.8
    assert len(postprocess(boxes, scores, SQUARE)) == 1
    assert len(postprocess(boxes, scores, SQUARE, suppression='none')) == 2


def test_evaluation_without_suppression_keeps_the_best_300_of_all_queries_and_classes():
    rng = np.random.default_rng(5)
    boxes = np.full((4, 300), 100, np.float32)
    scores = rng.uniform(0, 1e-4, (80, 300)).astype(np.float32)
    found = postprocess(boxes, scores, SQUARE, EVALUATION['none'], 'none')
    np.testing.assert_array_equal(found.scores, np.sort(scores, axis=None)[::-1][:300])
    assert len(postprocess(boxes, scores, SQUARE, EVALUATION['class_nms'])) == 0


def test_boxes_of_a_stretched_image_are_mapped_back_side_by_side():
    found = postprocess(*one_object(), fill((100, 200), (320, 320)), suppression='none')
    np.testing.assert_allclose(found.boxes_xyxy_px, [[87.5, 28.125, 112.5, 34.375]])


def test_an_unknown_suppression_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="suppression 'soft'.*class_nms or none"):
        postprocess(*one_object(), SQUARE, suppression='soft')


@pytest.mark.parametrize('suppression', SUPPRESSIONS)
def test_nothing_above_the_confidence_gives_empty_detections_of_the_right_types(suppression):
    for anchors in (0, 10):
        boxes, scores = np.ones((4, anchors), np.float32), np.full((3, anchors), 0.2, np.float32)
        found = postprocess(boxes, scores, SQUARE, suppression=suppression)
        assert len(found) == 0
        assert found.boxes_xyxy_px.shape == (0, 4) and found.labels.shape == (0,)
        dtypes = (found.boxes_xyxy_px.dtype, found.scores.dtype, found.labels.dtype)
        assert dtypes == (np.float32, np.float32, np.int64)


def test_one_object_is_mapped_back_to_the_received_image():
    geometry = fit((100, 200), (320, 320))
    found = postprocess(*one_object(), geometry)
    assert found.labels.tolist() == [1]
    np.testing.assert_allclose(found.scores, [0.9])
    np.testing.assert_allclose(found.boxes_xyxy_px, [[87.5, 6.25, 112.5, 18.75]])
    assert found.boxes_xyxy_px.dtype == np.float32 and found.labels.dtype == np.int64


def test_a_score_equal_to_the_confidence_counts():
    assert (
        len(postprocess(*one_object(score=0.5), SQUARE, PostprocessSettings(confidence=0.5))) == 1
    )
    assert (
        len(postprocess(*one_object(score=0.499), SQUARE, PostprocessSettings(confidence=0.5)))
        == 0
    )


def test_overlapping_boxes_of_different_classes_are_both_kept():
    boxes, scores = one_object()
    scores[2, 5] = 0.8
    scores[1, 6] = 0.7
    found = postprocess(boxes, scores, SQUARE)
    assert found.labels.tolist() == [1, 2]


def test_an_anchor_counts_for_several_classes_in_evaluation_only():
    boxes, scores = one_object()
    scores[2, 3] = 0.6
    assert postprocess(boxes, scores, SQUARE).labels.tolist() == [1]
    assert postprocess(boxes, scores, SQUARE, EVALUATION['class_nms']).labels.tolist()[:2] == [
        1,
        2,
    ]


@pytest.mark.parametrize('suppression', SUPPRESSIONS)
def test_boxes_outside_the_image_and_without_area_are_dropped(suppression):
    boxes, scores = one_object(anchors=5)
    scores[0] = [0.9, 0.8, 0.7, 0.6, 0.5]
    boxes[:, 0] = (-100, 100, 20, 20)
    boxes[:, 1] = (160, 400, 20, 20)
    boxes[:, 2] = (160, 160, 0, 20)
    boxes[:, 3] = (160, 160, 20, -5)
    best = PostprocessSettings(max_detections=1)
    found = postprocess(boxes, scores, SQUARE, best, suppression)
    np.testing.assert_allclose(found.scores, [0.5])


def test_boxes_in_the_padding_are_dropped():
    boxes, scores = one_object()
    boxes[1] = 20
    assert len(postprocess(boxes, scores, fit((100, 200), (320, 320)))) == 0


@pytest.mark.parametrize('suppression', SUPPRESSIONS)
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_dropped_and_hide_nothing(bad, suppression):
    boxes, scores = one_object()
    boxes, scores = np.repeat(boxes, 2, axis=1), np.repeat(scores, 2, axis=1)
    for row in range(4):
        scores[1, row] = 0.99
        boxes[row, row] = bad
    scores[1, 15] = bad
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        # the two good copies of the object are one detection, and the best two without suppression
        best = PostprocessSettings(max_detections=2)
        found = postprocess(boxes, scores, SQUARE, best, suppression)
    np.testing.assert_allclose(found.scores, [0.9] * {'class_nms': 1, 'none': 2}[suppression])


def test_the_best_are_kept_when_there_are_too_many():
    rng = np.random.default_rng(0)
    boxes = np.stack(
        (rng.uniform(0, 320, 500), rng.uniform(0, 320, 500), np.ones(500), np.ones(500))
    )
    scores = rng.uniform(0.3, 1, (1, 500)).astype(np.float32)
    found = postprocess(
        boxes.astype(np.float32), scores, SQUARE, PostprocessSettings(iou=1.0, max_detections=7)
    )
    np.testing.assert_allclose(found.scores, np.sort(scores[0])[::-1][:7])
    few = PostprocessSettings(iou=1.0, max_candidates=5)
    np.testing.assert_allclose(
        postprocess(boxes.astype(np.float32), scores, SQUARE, few).scores,
        np.sort(scores[0])[::-1][:5],
    )


def test_chosen_classes_are_a_subset_of_all_detections():
    boxes, scores = random_output(np.random.default_rng(2))
    base = PostprocessSettings(confidence=0.4, max_detections=3000)
    every = postprocess(boxes, scores, SQUARE, base)
    chosen = postprocess(boxes, scores, SQUARE, replace(base, classes=(1, 3)))
    wanted = np.isin(every.labels, (1, 3))
    assert 0 < len(chosen) < len(every)
    np.testing.assert_array_equal(chosen.boxes_xyxy_px, every.boxes_xyxy_px[wanted])
    np.testing.assert_array_equal(chosen.labels, every.labels[wanted])


def test_equal_scores_keep_the_order_of_the_anchors():
    boxes, scores = one_object(label=0, classes=1)
    boxes[0] = np.arange(10) * 30
    scores[:] = 0.5
    found = postprocess(boxes, scores, SQUARE)
    assert np.all(np.diff(found.boxes_xyxy_px[:, 2]) > 0) and len(found) == 10


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('confidence', -0.1),
        ('confidence', 25),
        ('confidence', float('nan')),
        ('iou', 1.5),
        ('max_detections', 0),
        ('max_candidates', 0),
        ('classes', ()),
        ('classes', (-1,)),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        PostprocessSettings(**{field: value})


def test_a_class_the_model_does_not_have_is_refused():
    with pytest.raises(ValueError, match='class 4 does not exist.*0 to 3'):
        postprocess(*one_object(), SQUARE, PostprocessSettings(classes=(4,)))


@pytest.mark.parametrize('shapes', [((4, 5), (2, 6)), ((5, 4), (2, 4)), ((1, 4, 5), (1, 2, 5))])
def test_shapes_that_do_not_fit_together_are_refused(shapes):
    with pytest.raises(ValueError, match='do not fit together'):
        postprocess(np.zeros(shapes[0]), np.zeros(shapes[1]), SQUARE)

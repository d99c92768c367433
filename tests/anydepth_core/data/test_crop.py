"""Zoom-out and crop keep boxes on their objects: painted rectangles stay where the boxes say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.data.augment import AugmentSettings
from anydepth_core.data.crop import cut, iou_crop, Window, zoom_and_crop, zoom_out
from anydepth_core.structures import Target

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(20, 150)
BOTH = AugmentSettings(zoom_out=1.0, crop=1.0)


def painted(height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, Target]:
    """A grey image with up to three rectangles, object n of value 100 + 50 n over the earlier."""
    image = np.full((height, width, 3), 60, np.uint8)
    boxes = []
    for label in range(rng.integers(0, 4)):
        (left, right), (top, bottom) = (
            np.sort(rng.permutation(s + 1)[:2]) for s in (width, height)
        )
        image[top:bottom, left:right] = 100 + 50 * label
        boxes.append((left, top, right, bottom))
    return image, Target(np.array(boxes, np.float32).reshape(-1, 4), np.arange(len(boxes)))


def check(image: np.ndarray, target: Target) -> None:
    """Boxes lie inside; the last object, which nothing hides, fills its box exactly."""
    height, width = image.shape[:2]
    boxes = target.boxes_xyxy_px
    assert boxes.dtype == np.float32 and target.labels.dtype == np.int64
    assert boxes.shape == (len(target.labels), 4)
    assert (boxes >= 0).all() and (boxes <= (width, height, width, height)).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    if len(boxes):
        left, top, right, bottom = boxes[-1].astype(int)
        assert (boxes[-1] == (left, top, right, bottom)).all()
        value = 100 + 50 * target.labels[-1]
        assert (image[top:bottom, left:right] >= value).all()
        if target.labels[-1] == 2:
            rows, columns = np.nonzero(image[..., 0] == value)
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1, rows.max() + 1) == (right, bottom)


@given(SEEDS, SIDES, SIDES)
@settings(max_examples=150, deadline=None)
def test_boxes_bound_their_rectangles_after_zoom_out_and_crop(seed, height, width):
    rng = np.random.default_rng(seed)
    image, target = painted(height, width, rng)
    before = image.copy()
    out, moved = zoom_and_crop(image, target, BOTH, rng)
    assert out.dtype == np.uint8 and out.shape[2] == 3
    check(out, moved)
    assert np.array_equal(image, before)


@given(SEEDS, SIDES, SIDES)
@settings(max_examples=60, deadline=None)
def test_a_crop_shows_a_part_of_the_image_and_keeps_what_is_centred_in_it(seed, height, width):
    rng = np.random.default_rng(seed)
    _, target = painted(height, width, rng)
    whole = Window(0, 0, width, height)
    window, kept = iou_crop(whole, target.boxes_xyxy_px, rng)
    assert 0 <= window.left < window.right <= width and 0 <= window.top < window.bottom <= height
    centres = (target.boxes_xyxy_px[:, :2] + target.boxes_xyxy_px[:, 2:]) / 2
    corners = np.array((window.left, window.top)), np.array((window.right, window.bottom))
    inside = ((centres > corners[0]) & (centres < corners[1])).all(axis=1)
    np.testing.assert_array_equal(kept, inside)
    assert kept.any() or len(kept) == 0
    if window != whole:
        assert window.right - window.left >= int(0.3 * width)
        assert window.bottom - window.top >= int(0.3 * height)
        assert 0.5 <= (window.right - window.left) / (window.bottom - window.top) <= 2


def test_crops_reach_every_overlap_and_leave_some_images_whole():
    """Of large objects; the draw of no crop at all is one of seven."""
    box, whole = np.array([[10, 10, 90, 90]], np.float32), Window(0, 0, 100, 100)
    overlaps, untouched = [], 0
    for seed in range(400):
        window, _ = iou_crop(whole, box, np.random.default_rng(seed))
        untouched += window == whole
        left, top, right, bottom = window.left, window.top, window.right, window.bottom
        shared = (min(right, 90) - max(left, 10)) * (min(bottom, 90) - max(top, 10))
        overlaps.append(shared / ((right - left) * (bottom - top) + 6400 - shared))
    assert 400 / 7 * 0.6 < untouched < 400 / 7 * 2
    assert min(overlaps) < 0.3 and max(overlaps) > 0.9
    assert np.histogram(overlaps, 4, (0.2, 1))[0].min() > 10


def test_only_one_object_must_overlap_a_crop():
    boxes = np.array([[0, 0, 60, 60], [70, 70, 74, 74], [96, 96, 100, 100]], np.float32)
    drawn = [
        iou_crop(Window(0, 0, 100, 100), boxes, np.random.default_rng(s))[1] for s in range(60)
    ]
    assert {tuple(kept.tolist()) for kept in drawn} >= {(True, False, False), (True, True, True)}


def test_a_canvas_has_one_to_four_times_the_sides_and_holds_the_image():
    factors = []
    for seed in range(300):
        window = zoom_out((50, 80), np.random.default_rng(seed))
        assert window.left <= 0 and window.top <= 0 and window.right >= 80 and window.bottom >= 50
        height, width = window.bottom - window.top, window.right - window.left
        assert abs(width / 80 - height / 50) < 0.02 + 1 / 50
        factors.append(width / 80)
    assert 1 <= min(factors) < 1.1 and 3.9 < max(factors) <= 4


def test_beyond_the_image_there_is_the_fill():
    image = np.full((10, 20, 3), 200, np.uint8)
    target = Target(np.array([[0, 0, 20, 10]], np.float32), np.array([0]))
    for fill in (0, 114):
        out, moved = cut(image, target, Window(-5, -7, 30, 12), fill)
        expected = np.full((19, 35, 3), fill, np.uint8)
        expected[7:17, 5:25] = 200
        assert np.array_equal(out, expected)
        assert moved.boxes_xyxy_px.tolist() == [[5, 7, 25, 17]]


def test_a_window_beside_the_image_shows_the_fill_alone():
    image = np.full((10, 20, 3), 200, np.uint8)
    target = Target(np.array([[0, 0, 20, 10]], np.float32), np.array([0]))
    for window in (Window(-9, -9, -2, -1), Window(25, 12, 32, 20)):
        out, moved = cut(image, target, window, 7)
        assert out.shape == (8, 7, 3) and (out == 7).all() and len(moved.labels) == 0


def test_boxes_of_which_less_than_a_pixel_is_left_are_dropped():
    image = np.zeros((20, 20, 3), np.uint8)
    boxes = np.array([[0, 0, 5.9, 9], [0, 0, 6.0, 9], [9, 9, 20, 20]], np.float32)
    _, moved = cut(image, Target(boxes, np.arange(3)), Window(5, 5, 15, 15), 0)
    assert moved.labels.tolist() == [1, 2]
    assert moved.boxes_xyxy_px.tolist() == [[0, 0, 1, 4], [4, 4, 10, 10]]


@pytest.mark.parametrize('chances', [(0.0, 0.0), (0.0, 1.0)])
def test_an_image_without_objects_is_never_cropped(chances):
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    empty = Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    chosen = AugmentSettings(zoom_out=chances[0], crop=chances[1])
    for seed in range(20):
        out, moved = zoom_and_crop(image, empty, chosen, np.random.default_rng(seed))
        assert np.array_equal(out, image)
        assert moved.boxes_xyxy_px.shape == (0, 4) and moved.labels.shape == (0,)


def test_an_image_without_objects_may_be_zoomed_out():
    empty = Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    out, moved = zoom_and_crop(
        np.zeros((10, 10, 3), np.uint8), empty, BOTH, np.random.default_rng(0)
    )
    assert out.shape[0] > 10 and len(moved.labels) == 0


def test_the_generator_alone_decides():
    image, target = painted(60, 80, np.random.default_rng(5))
    results = [zoom_and_crop(image, target, BOTH, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1].boxes_xyxy_px, results[1][1].boxes_xyxy_px)
    assert not np.array_equal(results[0][0], results[2][0])


def test_without_probability_no_chance_is_drawn():
    """So that recipes from before these settings draw what they drew."""
    image, target = painted(60, 80, np.random.default_rng(5))
    rng = np.random.default_rng(0)
    out, moved = zoom_and_crop(image, target, AugmentSettings(), rng)
    assert np.array_equal(out, image) and rng.random() == np.random.default_rng(0).random()

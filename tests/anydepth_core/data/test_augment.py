"""Augmentation moves boxes with their pixels: painted rectangles stay where the boxes say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.data.augment import (
    AugmentSettings,
    clip_target,
    flip_horizontally,
    random_affine,
    stretched,
    vary_colour,
)
from anydepth_core.data.mosaic import mosaic
from anydepth_core.data.preprocess import letterbox, stretch
from anydepth_core.structures import Target

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(40, 150)
OUTPUTS = st.sampled_from([(64, 64), (96, 128), (160, 96), (128, 128)])
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))


def painted(height: int, width: int, rng: np.random.Generator, colour: tuple[int, int, int]):
    """A black image with one rectangle of at least 12 pixels a side, and its target."""
    box_height, box_width = rng.integers(12, height + 1), rng.integers(12, width + 1)
    top, left = rng.integers(0, height - box_height + 1), rng.integers(0, width - box_width + 1)
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + box_height, left : left + box_width] = colour
    box = np.array([[left, top, left + box_width, top + box_height]], np.float32)
    return image, Target(box, np.array([COLOURS.index(colour)]))


def bounds(image: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """Bounding box of the pixels that are nearer to a colour than to black or grey padding."""
    distance = np.abs(image.astype(int) - np.array(colour)).max(axis=2)
    rows, columns = np.nonzero(distance < 128)
    if len(rows) == 0:
        return None
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def check(image: np.ndarray, target: Target, tolerance_px: float = 2.0) -> None:
    height, width = image.shape[:2]
    assert target.boxes_xyxy_px.dtype == np.float32 and target.labels.dtype == np.int64
    assert (target.boxes_xyxy_px >= 0).all()
    assert (target.boxes_xyxy_px <= (width, height, width, height)).all()
    for box, label in zip(target.boxes_xyxy_px, target.labels):
        found = bounds(image, COLOURS[label])
        assert found is not None
        assert np.abs(np.array(found) - box).max() <= tolerance_px


@given(SEEDS, SIDES, SIDES, OUTPUTS)
@settings(max_examples=60, deadline=None)
def test_box_bounds_its_rectangle_after_random_affine(seed, height, width, size):
    rng = np.random.default_rng(seed)
    image, target = painted(height, width, rng, COLOURS[0])
    out, moved = random_affine(image, target, size, AugmentSettings(), rng)
    assert out.shape == (*size, 3) and out.dtype == np.uint8
    check(out, moved)


@given(SEEDS, SIDES, SIDES, OUTPUTS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_box_bounds_its_rectangle_after_stretching(seed, height, width, size, moving):
    rng = np.random.default_rng(seed)
    image, target = painted(height, width, rng, COLOURS[1])
    strength = {} if moving else {'scale': 0, 'translate': 0}
    out, moved = stretched(image, target, size, AugmentSettings(**strength), rng)
    assert out.shape == (*size, 3) and out.dtype == np.uint8
    # an image pixel may span several network pixels, whose edge is blurred
    check(out, moved, tolerance_px=2 + max(size[0] / height, size[1] / width))
    assert moving or len(moved.labels) == 1


@given(SEEDS, st.lists(st.tuples(SIDES, SIDES), min_size=4, max_size=4), OUTPUTS)
@settings(max_examples=60, deadline=None)
def test_boxes_bound_their_rectangles_after_mosaic(seed, sides, size):
    rng = np.random.default_rng(seed)
    samples = [painted(*side, rng, colour) for side, colour in zip(sides, COLOURS)]
    out, target = mosaic(samples, size, AugmentSettings(), rng)
    assert out.shape == (*size, 3) and out.dtype == np.uint8
    check(out, target)


@given(SEEDS, st.lists(st.tuples(SIDES, SIDES), min_size=4, max_size=4), OUTPUTS)
@settings(max_examples=30, deadline=None)
def test_mosaic_keeps_every_rectangle_that_is_well_visible(seed, sides, size):
    rng = np.random.default_rng(seed)
    samples = [painted(*side, rng, colour) for side, colour in zip(sides, COLOURS)]
    out, target = mosaic(samples, size, AugmentSettings(scale=0), rng)
    for label, colour in enumerate(COLOURS):
        found = bounds(out, colour)
        if found is None or min(found[2] - found[0], found[3] - found[1]) < 4:
            continue
        left, top, right, bottom = samples[label][1].boxes_xyxy_px[0]
        scale = min(size[0] / sides[label][0], size[1] / sides[label][1])
        seen = (found[2] - found[0]) * (found[3] - found[1])
        assert label in target.labels or seen < 0.2 * (right - left) * (bottom - top) * scale**2


@given(SEEDS, SIDES, SIDES)
@settings(max_examples=30, deadline=None)
def test_box_bounds_its_rectangle_after_flip_and_twice_is_once(seed, height, width):
    image, target = painted(height, width, np.random.default_rng(seed), COLOURS[2])
    flipped, moved = flip_horizontally(image, target)
    check(flipped, moved, tolerance_px=0)
    again, back = flip_horizontally(flipped, moved)
    assert np.array_equal(again, image)
    assert np.array_equal(back.boxes_xyxy_px, target.boxes_xyxy_px)


def test_affine_without_strength_is_the_letterbox():
    rng = np.random.default_rng(3)
    image, target = painted(50, 100, rng, COLOURS[3])
    still = AugmentSettings(translate=0, scale=0)
    out, moved = random_affine(image, target, (200, 200), still, rng)
    expected, geometry = letterbox(image, (200, 200))
    assert np.abs(moved.boxes_xyxy_px - geometry.to_network(target.boxes_xyxy_px)).max() < 1e-3
    inner = (
        slice(52, 148),
        slice(2, 198),
    )  # interpolation differs at the border to the padding only
    assert np.abs(out[inner].astype(int) - expected[inner]).max() <= 4
    assert (out[:48] == 114).all() and (out[152:] == 114).all()


def test_stretching_without_strength_is_what_evaluation_does_and_draws_no_chance():
    image, target = painted(50, 100, np.random.default_rng(3), COLOURS[3])
    rng = np.random.default_rng(0)
    out, moved = stretched(image, target, (64, 96), AugmentSettings(translate=0, scale=0), rng)
    expected, geometry = stretch(image, (64, 96))
    assert np.array_equal(out, expected)
    np.testing.assert_array_equal(moved.boxes_xyxy_px, geometry.to_network(target.boxes_xyxy_px))
    assert rng.random() == np.random.default_rng(0).random()


def test_stretching_drops_boxes_that_become_smaller_than_a_pixel():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 10, 10], [99, 99, 100, 100]], np.float32)
    still = AugmentSettings(translate=0, scale=0)
    image, rng = np.zeros((320, 320, 3), np.uint8), np.random.default_rng(0)
    _, moved = stretched(image, Target(boxes, np.arange(3)), (32, 32), still, rng)
    assert moved.labels.tolist() == [1]


def test_boxes_of_which_too_little_is_left_are_dropped():
    boxes = np.array(
        [
            [-95, 10, 5, 30],  # 5 % visible
            [-80, 10, 20, 30],  # 20 % visible
            [50, 50, 51.5, 90],  # narrower than two pixels
            [120, 10, 140, 30],  # outside
            [10, 10, 40, 40],
        ],
        np.float32,
    )
    target = clip_target(boxes, np.arange(5), (0, 0, 100, 100))
    assert target.labels.tolist() == [1, 4]
    assert target.boxes_xyxy_px.tolist() == [[0, 10, 20, 30], [10, 10, 40, 40]]


def test_empty_targets_stay_empty():
    empty = Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    image = np.zeros((33, 47, 3), np.uint8)
    rng = np.random.default_rng(0)
    for out, target in (
        random_affine(image, empty, (64, 64), AugmentSettings(), rng),
        stretched(image, empty, (64, 64), AugmentSettings(), rng),
        mosaic([(image, empty)] * 4, (64, 64), AugmentSettings(), rng),
        flip_horizontally(image, empty),
    ):
        assert out.dtype == np.uint8
        assert target.boxes_xyxy_px.shape == (0, 4) and target.labels.shape == (0,)


def test_colour_without_gain_only_turns_to_rgb_and_with_gain_moves_the_mean():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    same = vary_colour(image, (0, 0, 0), np.random.default_rng(0))
    assert np.array_equal(same[..., ::-1], image)
    values = [
        vary_colour(image, (0, 0, 0.4), np.random.default_rng(seed)).max(axis=2).mean()
        for seed in range(20)
    ]
    assert (
        min(values) < 0.8 * image.max(axis=2).mean()
        and max(values) > 1.05 * image.max(axis=2).mean()
    )


def test_hue_moves_round_the_circle_and_grey_stays_grey():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 90
    image[1] = (0, 0, 255)  # red
    for seed in range(10):
        out = vary_colour(image, (0.02, 0, 0), np.random.default_rng(seed))
        assert (out[0] == 90).all()
        assert (out[1, :, 0] == 255).all() and out[1, :, 1:].max() <= 40


@pytest.mark.parametrize(
    'wrong',
    [
        {'flip': 1.5},
        {'mosaic': -0.1},
        {'scale': 1.0},
        {'translate': 2.0},
        {'hsv': (0.1, 0.2)},
        {'hsv': (0, 0, 3.0)},
        {'photometric': 1.1},
        {'zoom_out': -0.5},
        {'zoom_out_fill': 256},
        {'crop': 2.0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f'augment.{next(iter(wrong))} is'):
        AugmentSettings(**wrong)

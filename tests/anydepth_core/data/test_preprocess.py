from __future__ import annotations

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.data.preprocess import (
    fill,
    fit,
    letterbox,
    PAD_VALUE,
    preprocess,
    RESIZES,
    stretch,
    to_tensor,
)

SIDES = st.integers(1, 5000)
NETWORK = st.integers(1, 40).map(lambda count: 32 * count)


@st.composite
def geometries(draw, place=fit):
    return place((draw(SIDES), draw(SIDES)), (draw(NETWORK), draw(NETWORK)))


@st.composite
def boxes_in(draw, image_size):
    height, width = image_size
    fractions = np.sort([[draw(st.floats(0, 1)) for _ in range(2)] for _ in range(2)])
    (left, right), (top, bottom) = fractions * [[width], [height]]
    return np.array([[left, top, right, bottom]])


@settings(deadline=None, max_examples=60)
@given(st.data(), geometries() | geometries(fill))
def test_boxes_survive_the_way_to_the_network_and_back(data, geometry):
    boxes = data.draw(boxes_in(geometry.image_size))
    assert np.abs(geometry.to_image(geometry.to_network(boxes)) - boxes).max() < 1e-6
    single = boxes.astype(np.float32)
    # what one rounding of the network coordinate to single precision is worth in image pixels
    limit = np.spacing(np.float32(max(geometry.network_size))) / min(geometry.scale)
    limit += np.spacing(np.float32(max(geometry.image_size)))
    assert np.abs(geometry.to_image(geometry.to_network(single)) - single).max() <= limit


@settings(deadline=None)
@given(geometries())
def test_the_whole_image_lands_on_whole_network_pixels_inside_the_padding(geometry):
    height, width = geometry.image_size
    left, top, right, bottom = geometry.to_network(np.array([[0.0, 0.0, width, height]]))[0]
    assert (left, top) == (geometry.pad_left, geometry.pad_top)
    assert abs(right - round(right)) < 1e-6 and abs(bottom - round(bottom)) < 1e-6
    assert right - left >= 1 - 1e-6 and bottom - top >= 1 - 1e-6
    right_pad = geometry.network_size[1] - right
    bottom_pad = geometry.network_size[0] - bottom
    assert -1e-6 < right_pad - left < 1 + 1e-6 and -1e-6 < bottom_pad - top < 1 + 1e-6
    assert min(left, top) == 0


@settings(deadline=None)
@given(geometries(fill))
def test_a_stretched_image_covers_the_whole_network_input(geometry):
    height, width = geometry.image_size
    whole = np.array([[0.0, 0.0, width, height]])
    found = geometry.to_network(whole)[0]
    np.testing.assert_allclose(found, [0, 0, *geometry.network_size[::-1]], atol=1e-6)
    np.testing.assert_allclose(geometry.to_image(found[None]), whole, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([(32, 32), (32, 96), (96, 64)]))
def test_the_picture_fills_exactly_the_box_that_the_geometry_names(height, width, size):
    image = np.full((height, width, 3), 255, np.uint8)
    boxed, geometry = letterbox(image, size)
    assert boxed.shape == (*size, 3)
    corners = geometry.to_network(np.array([[0.0, 0.0, width, height]]))[0]
    left, top, right, bottom = np.rint(corners).astype(int)
    expected = np.full((*size, 3), PAD_VALUE, np.uint8)
    expected[top:bottom, left:right] = 255
    assert np.array_equal(boxed, expected)


@pytest.mark.parametrize(
    'shape', [(1, 1), (1, 4000), (4000, 1), (1, 40000), (3, 5), (299, 301), (96, 64)]
)
@pytest.mark.parametrize('resize', RESIZES)
def test_extreme_shapes_give_a_tensor_of_the_network_size(shape, resize):
    tensor, geometry = preprocess(np.full((*shape, 3), 200, np.uint8), (96, 64), resize)
    assert tensor.shape == (1, 3, 96, 64)
    assert geometry.image_size == shape and geometry.network_size == (96, 64)
    assert (tensor == np.float32(200) * np.float32(1 / 255)).any()


def test_an_object_is_found_where_its_box_says():
    image = np.zeros((240, 320, 3), np.uint8)
    image[60:120, 80:200] = 255
    boxed, geometry = letterbox(image, (96, 96))
    left, top, right, bottom = geometry.to_network(np.array([[80.0, 60.0, 200.0, 120.0]]))[0]
    rows, columns = np.nonzero(boxed[..., 0] > 128)
    assert (columns.min(), rows.min()) == (left, 12 + 18) == (24, top)
    assert (columns.max() + 1, rows.max() + 1) == (right, bottom)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 300), st.integers(8, 300))
def test_an_object_of_a_stretched_image_is_found_where_its_box_says(seed, height, width):
    rng = np.random.default_rng(seed)
    (left, right), (top, bottom) = (np.sort(rng.permutation(s + 1)[:2]) for s in (width, height))
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = 255
    stretched, geometry = stretch(image, (128, 96))
    assert stretched.shape == (128, 96, 3)
    box = geometry.to_network(np.array([[left, top, right, bottom]], np.float64))[0]
    rows, columns = np.nonzero(stretched[..., 0] > 128)
    # where a pixel spans several network pixels its edge is blurred by half of that
    limits = np.maximum(1, np.array(geometry.scale * 2)) + 1e-6
    if len(rows):
        found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (np.abs(np.array(found) - box) <= limits).all()
    else:
        assert (box[2:] - box[:2]).min() < 1.5


def test_a_stretched_image_equals_a_plain_bilinear_reference_and_is_never_the_one_given():
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    tensor, geometry = preprocess(image, (64, 96), 'stretch')
    plain = cv2.resize(image, (96, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(tensor[0], plain[..., ::-1].transpose(2, 0, 1) / 255, atol=1e-7)
    assert geometry.scale == (96 / 53, 64 / 37)
    same, _ = stretch(image, (37, 53))
    assert np.array_equal(same, image) and not np.shares_memory(same, image)


def test_an_unknown_resize_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="resize 'crop' is not legal: give letterbox or stretch"):
        preprocess(np.zeros((4, 4, 3), np.uint8), (32, 32), 'crop')


def test_boxes_are_clipped_to_the_image_on_the_way_back_only():
    geometry = fit((100, 200), (320, 320))
    beyond = np.array([[-50.0, -50.0, 400.0, 400.0]], np.float32)
    assert geometry.to_image(beyond).tolist() == [[0, 0, 200, 100]]
    assert geometry.to_network(np.array([[-10.0, 0, 210, 100]])).tolist() == [[-16, 80, 336, 240]]


@pytest.mark.parametrize(
    ('given_dtype', 'dtype'), [('f4', 'f4'), ('f8', 'f8'), ('i8', 'f4'), ('u1', 'f4')]
)
def test_box_precision_is_kept_and_no_boxes_stay_no_boxes(given_dtype, dtype):
    geometry = fit((100, 200), (320, 320))
    for convert in (geometry.to_image, geometry.to_network):
        assert convert(np.zeros((0, 4), given_dtype)).shape == (0, 4)
        assert convert(np.ones((2, 4), given_dtype)).dtype == dtype


def test_the_tensor_is_rgb_between_zero_and_one():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = (255, 51, 0)
    image[1, 2] = (1, 2, 3)
    tensor = to_tensor(image)
    assert (
        tensor.shape == (1, 3, 2, 3) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    )
    np.testing.assert_allclose(tensor[0, :, 0, 0], [0, 0.2, 1], atol=1e-7)
    np.testing.assert_allclose(tensor[0, :, 1, 2], np.array([3, 2, 1]) / 255, atol=1e-7)


def test_preprocess_equals_a_plain_bilinear_reference():
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    tensor, _ = preprocess(image, (64, 64))
    resized = cv2.resize(image, (64, 45), interpolation=cv2.INTER_LINEAR)
    plain = np.full((64, 64, 3), 114, np.uint8)
    plain[9:54] = resized
    np.testing.assert_allclose(tensor[0], plain[..., ::-1].transpose(2, 0, 1) / 255, atol=1e-7)


def test_the_image_stays_as_it_is_and_is_never_returned():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    before = image.copy()
    boxed, _ = letterbox(image, (32, 32))
    assert np.array_equal(boxed, image)
    boxed[...] = 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize('resize', RESIZES)
def test_views_are_taken_as_they_look(resize):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for view in (
        image[::-1, ::-1],
        image[3:20:2, 5:50],
        image.transpose(1, 0, 2),
        image[..., ::-1],
    ):
        np.testing.assert_array_equal(
            preprocess(view, (64, 64), resize)[0], preprocess(view.copy(), (64, 64), resize)[0]
        )


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (None, 'NoneType'),
        ([[1]], 'list'),
        (np.zeros((4, 4, 3), np.float32), 'float32'),
        (np.zeros((4, 4), np.uint8), r'\(4, 4\)'),
        (np.zeros((4, 4, 4), np.uint8), r'\(4, 4, 4\)'),
        (np.zeros((4, 4, 1), np.uint8), r'\(4, 4, 1\)'),
        (np.zeros((0, 4, 3), np.uint8), 'empty'),
        (np.zeros((4, 0, 3), np.uint8), 'empty'),
    ],
)
@pytest.mark.parametrize('resize', RESIZES)
def test_what_is_no_image_is_refused_in_one_sentence(image, words, resize):
    with pytest.raises(ValueError, match=words) as refusal:
        preprocess(image, (32, 32), resize)
    assert '\n' not in str(refusal.value) and 'uint8' in str(refusal.value)


@pytest.mark.parametrize('size', [(0, 32), (32, -1), (32,)])
@pytest.mark.parametrize('resize', RESIZES)
def test_a_network_size_without_pixels_is_refused(size, resize):
    with pytest.raises(ValueError, match='network size'):
        preprocess(np.zeros((4, 4, 3), np.uint8), size, resize)

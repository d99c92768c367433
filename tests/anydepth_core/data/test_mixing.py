"""Copy-paste and mixup: what is pasted shows its source, what it covers stays mostly visible."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.data.augment import AugmentSettings
from anydepth_core.data.mixing import copy_paste, hidden_shares, mixup, MOST_HIDDEN
from anydepth_core.structures import Target

SEEDS = st.integers(0, 2**32 - 1)
EMPTY = Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def sample(value: int, boxes: list[tuple[float, ...]] | np.ndarray, label: int = 0):
    """An image of one value, 60 x 80, with boxes of the labels ``label``, ``label + 1``, ..."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return np.full((60, 80, 3), value, np.uint8), Target(
        corners, label + np.arange(len(corners), dtype=np.int64)
    )


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.uniform(0, (70, 50), (count, 2))
    sides = rng.uniform(2, 40, (count, 2))
    return np.concatenate((corners, np.minimum(corners + sides, (80, 60))), axis=1)


def test_an_object_is_pasted_with_its_pixels_and_its_label():
    under, source = sample(10, [(0, 0, 20, 20)]), sample(200, [(30, 20, 50, 40)], label=7)
    image, target = copy_paste(under, source, 1.0, np.random.default_rng(0))
    assert target.boxes_xyxy_px.tolist() == [[0, 0, 20, 20], [30, 20, 50, 40]]
    assert target.labels.tolist() == [0, 7]
    expected = under[0].copy()
    expected[20:40, 30:50] = 200
    assert np.array_equal(image, expected)


def test_an_object_that_would_hide_three_tenths_of_another_is_left_out():
    source = sample(200, [(10, 0, 50, 40)], label=7)
    for width, pasted in ((13, True), (14.2, True), (14.3, False), (50, False)):
        under = sample(10, [(0, 0, width, 20)])
        image, target = copy_paste(under, source, 1.0, np.random.default_rng(0))
        assert (len(target.labels) == 2) == (image.max() == 200) == pasted


def test_what_lies_in_a_pasted_box_keeps_its_label_and_is_cut_to_it():
    inside, mostly, hardly = (32, 22, 40, 30), (45, 30, 52, 38), (48, 20, 60, 40)
    source = sample(200, [(30, 20, 50, 40), inside, mostly, hardly])
    drawn = _Drawn([True, False, False, False])
    _, target = copy_paste(sample(10, []), source, 0.5, drawn)
    assert target.labels.tolist() == [0, 1, 2]
    assert target.boxes_xyxy_px.tolist() == [[30, 20, 50, 40], [*inside], [45, 30, 50, 38]]


def test_an_object_that_came_along_is_not_pasted_again():
    source = sample(200, [(30, 20, 50, 40), (32, 22, 40, 30)])
    _, target = copy_paste(sample(10, []), source, 1.0, np.random.default_rng(0))
    assert target.labels.tolist() == [0, 1]


class _Drawn:
    """A generator whose draws are known."""

    def __init__(self, drawn: list[bool]) -> None:
        self.drawn = drawn

    def random(self, count: int) -> np.ndarray:
        assert count == len(self.drawn)
        return np.where(self.drawn, 0.0, 0.9)


@given(SEEDS, st.integers(0, 8), st.integers(0, 8), st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=150, deadline=None)
def test_pasted_boxes_show_the_source_and_hide_little(seed, count, others, share):
    rng = np.random.default_rng(seed)
    under, source = sample(10, random_boxes(rng, count)), sample(200, random_boxes(rng, others))
    before = under[0].copy(), source[0].copy()
    image, target = copy_paste(under, source, share, rng)
    assert np.array_equal(under[0], before[0]) and np.array_equal(source[0], before[1])
    boxes = target.boxes_xyxy_px
    assert boxes.dtype == np.float32 and target.labels.dtype == np.int64
    assert len(boxes) == len(target.labels) <= count + others
    np.testing.assert_array_equal(boxes[:count], under[1].boxes_xyxy_px)
    shown = image[..., 0] == 200
    for box in boxes[count:]:
        x0, y0, x1, y1 = np.rint(box).astype(int)
        assert shown[y0:y1, x0:x1].all()
        assert (hidden_shares(under[1].boxes_xyxy_px, box) < MOST_HIDDEN).all()
    assert share or not shown.any()
    assert shown.any() == (len(boxes) > count)


def test_the_share_is_that_of_the_objects():
    boxes = [(10 * x, 10 * y, 10 * x + 8, 10 * y + 8) for x in range(8) for y in range(6)]
    pasted = [
        len(copy_paste(sample(0, []), sample(9, boxes), 0.25, np.random.default_rng(s))[1].labels)
        for s in range(200)
    ]
    assert abs(np.mean(pasted) / len(boxes) - 0.25) < 0.02 and np.std(pasted) > 1


def test_images_without_objects_go_through():
    rng = np.random.default_rng(0)
    for first, second in ((EMPTY, EMPTY), (EMPTY, sample(0, [(1, 2, 3, 9)])[1])):
        under, source = (sample(10, [])[0], first), (sample(20, [])[0], second)
        for out, target in (copy_paste(under, source, 1.0, rng), mixup(under, source, rng)):
            assert out.shape == (60, 80, 3) and out.dtype == np.uint8
            assert target.boxes_xyxy_px.shape == (len(second.labels), 4)
            assert target.boxes_xyxy_px.dtype == np.float32 and target.labels.dtype == np.int64


def test_mixup_blends_nearly_evenly_and_keeps_all_objects():
    first, second = sample(0, [(0, 0, 9, 9)]), sample(200, [(5, 5, 20, 20)], label=3)
    values = []
    for seed in range(300):
        image, target = mixup(first, second, np.random.default_rng(seed))
        assert target.labels.tolist() == [0, 3]
        assert target.boxes_xyxy_px.tolist() == [[0, 0, 9, 9], [5, 5, 20, 20]]
        values.append(int(image[0, 0, 0]))
        assert (image == values[-1]).all()
    assert first[0].max() == 0 and second[0].min() == 200
    assert 95 < np.mean(values) < 105
    # a beta distribution of twice the parameter 32 deviates by 0.062
    assert 0.05 < np.std(values) / 200 < 0.075


def test_plain_epochs_show_single_images():
    plain = AugmentSettings(mosaic=1.0, copy_paste=0.5, mixup=0.1, flip=0.3, crop=0.2).plain()
    assert plain == AugmentSettings(mosaic=0.0, copy_paste=0.0, mixup=0.0, flip=0.3, crop=0.2)


@pytest.mark.parametrize('wrong', [{'mixup': 1.1}, {'copy_paste': -0.1}])
def test_shares_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f'augment.{next(iter(wrong))} is'):
        AugmentSettings(**wrong)

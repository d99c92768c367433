from __future__ import annotations

import cv2
import numpy as np
import pytest

from anydepth_core.data import photometric
from anydepth_core.data.photometric import photometric_distortion

NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float)


def test_without_probability_the_image_is_as_it_was():
    for seed in range(5):
        assert photometric_distortion(NOISE, 0.0, np.random.default_rng(seed)) is NOISE


def test_the_generator_alone_decides_and_the_image_given_stays():
    before = NOISE.copy()
    first, again, other = (
        photometric_distortion(NOISE, 0.9, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(NOISE, before)
    assert first.dtype == np.uint8 and first.shape == NOISE.shape and first.flags.c_contiguous


def test_each_part_happens_with_its_probability(monkeypatch):
    calls: dict[str, int] = {}
    parts = ('_brightness', '_contrast', '_saturation', '_hue')
    for name in parts:
        monkeypatch.setattr(photometric, name, counted(name, calls))
    image = np.zeros((1, 1, 3), np.uint8)
    image[0, 0] = (1, 2, 3)
    orders = set()
    for seed in range(600):
        out = photometric_distortion(image, 0.5, np.random.default_rng(seed))
        orders.add(tuple(out[0, 0].tolist()))
    assert all(240 < calls[name] < 360 for name in parts)
    assert len(orders) == 6


def counted(name: str, calls: dict[str, int]):
    def change(image: np.ndarray, amount: float) -> np.ndarray:
        low, high = getattr(photometric, name[1:].upper())
        assert low <= amount <= high
        calls[name] = calls.get(name, 0) + 1
        return image

    return change


def test_contrast_comes_before_or_after_the_colours(monkeypatch):
    orders = []
    for name in ('_brightness', '_contrast', '_saturation', '_hue'):
        monkeypatch.setattr(
            photometric, name, lambda image, _, name=name: order.append(name) or image
        )
    for seed in range(20):
        order: list[str] = []
        photometric_distortion(NOISE, 1.0, np.random.default_rng(seed))
        orders.append(tuple(order))
    assert set(orders) == {
        ('_brightness', '_contrast', '_saturation', '_hue'),
        ('_brightness', '_saturation', '_hue', '_contrast'),
    }


@pytest.mark.parametrize('factor', [0.875, 1.0, 1.125])
def test_brightness_scales_every_value_up_to_white(factor):
    expected = np.clip(np.rint(NOISE * factor), 0, 255)
    np.testing.assert_allclose(photometric._brightness(NOISE, factor), expected, atol=1)


def test_contrast_moves_values_about_the_mean_grey():
    mean = grey(NOISE).mean()
    for factor in (0.5, 1.0, 1.5):
        expected = np.clip(mean + factor * (NOISE - mean), 0, 255)
        np.testing.assert_allclose(photometric._contrast(NOISE, factor), expected, atol=1.5)


def test_saturation_keeps_grey_and_brightness():
    plain = np.full((4, 4, 3), 77, np.uint8)
    calm = np.clip(NOISE, 90, 160)
    for factor in (0.5, 1.5):
        assert np.array_equal(photometric._saturation(plain, factor), plain)
        out = photometric._saturation(calm, factor)
        np.testing.assert_allclose(grey(out), grey(calm), atol=2)
        spread = (np.ptp(image.astype(float), axis=2).mean() for image in (out, calm))
        assert next(spread) == pytest.approx(factor * next(spread), rel=0.05)


def test_hue_turns_the_circle_by_its_fraction_both_ways():
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 2] = 255
    third = photometric._hue(red, 1 / 3)[0, 0]
    assert third[1] >= 250 and max(third[0], third[2]) <= 10  # green
    back = photometric._hue(red, -1 / 3)[0, 0]
    assert back[0] >= 250 and max(back[1], back[2]) <= 10  # blue
    same = photometric._hue(NOISE, 0.0)  # rounded twice, to the circle's 256 steps and back
    assert np.abs(same.astype(int) - NOISE).mean() < 1
    plain = np.full((4, 4, 3), 77, np.uint8)
    assert np.array_equal(photometric._hue(plain, 0.05), plain)

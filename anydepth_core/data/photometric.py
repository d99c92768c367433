"""Photometric distortion: brightness, contrast, saturation, hue and the order of the channels.

The data augmentation of SSD (arXiv 1512.02325, section 2.2, after Howard 2013), with the parts and
ranges that torchvision publishes as ``RandomPhotometricDistort``, which RT-DETR is trained with.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

BRIGHTNESS = (0.875, 1.125)
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE = (-0.05, 0.05)  # of the whole circle

_Change = Callable[[np.ndarray, float], np.ndarray]

_STEPS = np.arange(256, dtype=np.float64)


def photometric_distortion(
    image_bgr: np.ndarray, probability: float, rng: np.random.Generator
) -> np.ndarray:
    """Change the colours of an image at random; the image stays as it is.

    Brightness, contrast, saturation and hue change in this order or with the contrast last; then
    the channels may change places.

    Args:
        image_bgr: (H, W, 3) uint8.
        probability: chance of each of the five parts, 0 to 1.
        rng: source of chance.
    """
    changes: list[tuple[_Change, tuple[float, float]]]
    changes = [(_brightness, BRIGHTNESS), (_saturation, SATURATION), (_hue, HUE)]
    changes.insert(1 if rng.random() < 0.5 else len(changes), (_contrast, CONTRAST))
    for change, limits in changes:
        if rng.random() < probability:
            image_bgr = change(image_bgr, rng.uniform(*limits))
    if rng.random() < probability:
        image_bgr = np.ascontiguousarray(image_bgr[..., rng.permutation(3)])
    return image_bgr


def _brightness(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.LUT(image, _table(factor * _STEPS))


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Move every value away from the mean grey, or towards it."""
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))[0]
    return cv2.LUT(image, _table(factor * _STEPS + (1 - factor) * mean))


def _saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Move every pixel away from its grey, or towards it."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def _hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Turn the colours by a fraction of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    hsv[..., 0] += np.uint8(round(256 * shift) % 256)  # wraps round, as the circle does
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


def _table(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)

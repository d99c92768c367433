"""Augmentation of one image: settings, random scale and shift, horizontal flip, colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from anydepth_core.data.preprocess import PAD_VALUE, stretch
from anydepth_core.structures import Target

_MIN_SIDE_PX = 2.0
_MIN_VISIBLE = 0.1
_SHARES = (
    'flip',
    'mosaic',
    'translate',
    'photometric',
    'zoom_out',
    'crop',
    'copy_paste',
    'mixup',
)


@dataclass(frozen=True)
class AugmentSettings:
    """How strongly training images are varied; every zero switches its part off."""

    hsv: tuple[float, float, float] = (0.015, 0.7, 0.4)
    """Largest change of hue (of the whole circle), saturation and brightness (relative)."""

    translate: float = 0.1
    """Largest shift, as a fraction of the network input's width and height."""

    scale: float = 0.5
    """Largest change of scale: the scale is drawn from 1 - scale to 1 + scale."""

    flip: float = 0.5
    """Probability of a horizontal flip."""

    mosaic: float = 1.0
    """Probability that four images are put together, each with its aspect ratio."""

    photometric: float = 0.0
    """Probability of each part of the photometric distortion: brightness, contrast, saturation,
    hue and order of the channels (RT-DETR: 0.5, with ``hsv`` at zero); not of a mosaic."""

    zoom_out: float = 0.0
    """Probability that the image is put on a canvas of up to four times its sides (RT-DETR: 0.5);
    not of a mosaic."""

    zoom_out_fill: int = 0
    """Value of the canvas around the image, 0 (RT-DETR) to 255."""

    crop: float = 0.0
    """Probability that a part is cut out that overlaps an object by a drawn amount (RT-DETR: 0.8);
    not of a mosaic."""

    copy_paste: float = 0.0
    """Probability of each object of another image to be pasted in, where it hides little."""

    mixup: float = 0.0
    """Probability that the image is blended with another, made in the same way."""

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            ValueError: naming the field, the value and the range.
        """
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'augment.{name} is {getattr(self, name)}: give 0 to 1')
        if not 0 <= self.scale < 1:
            raise ValueError(f'augment.scale is {self.scale}: give 0 or more, and less than 1')
        if len(self.hsv) != 3 or not all(0 <= gain <= 1 for gain in self.hsv):
            raise ValueError(f'augment.hsv is {self.hsv}: give three numbers from 0 to 1')
        if not 0 <= self.zoom_out_fill <= 255:
            raise ValueError(f'augment.zoom_out_fill is {self.zoom_out_fill}: give 0 to 255')

    def plain(self) -> AugmentSettings:
        """Return the settings of the plain epochs: every sample shows a single image."""
        return replace(self, mosaic=0.0, copy_paste=0.0, mixup=0.0)


@dataclass(frozen=True)
class Placement:
    """Where image coordinates land: ``scale * x + left``, ``scale * y + top``.

    Coordinates count pixel edges, as boxes do: an image reaches from 0 to its width.
    """

    scale: float
    left: float
    top: float

    def then(self, zoom: float, shift_x: float, shift_y: float) -> Placement:
        """Apply ``zoom * x + shift`` after this placement."""
        return Placement(self.scale * zoom, self.left * zoom + shift_x, self.top * zoom + shift_y)

    def boxes(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Move boxes (N, 4) with the image."""
        shift = np.array((self.left, self.top, self.left, self.top), np.float32)
        return boxes_xyxy_px * np.float32(self.scale) + shift

    def matrix(self, x0: int = 0, y0: int = 0) -> np.ndarray:
        """Return the (2, 3) matrix for ``cv2.warpAffine`` of the window that begins at (x0, y0).

        OpenCV counts pixel centres, boxes count pixel edges: hence the half pixels.
        """
        half = 0.5 * self.scale - 0.5
        return np.array(
            ((self.scale, 0, self.left - x0 + half), (0, self.scale, self.top - y0 + half)),
            np.float64,
        )


def fit(image_size: tuple[int, int], size: tuple[int, int]) -> Placement:
    """Return the placement that fits an image into (height, width), centred like a letterbox."""
    scale = min(size[0] / image_size[0], size[1] / image_size[1])
    return Placement(
        scale, (size[1] - image_size[1] * scale) / 2, (size[0] - image_size[0] * scale) / 2
    )


def draw_zoom(
    settings: AugmentSettings, size: tuple[int, int], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Draw a scale around 1 and the (x, y), in network pixels, that the centre moves to."""
    zoom = 1 + settings.scale * rng.uniform(-1, 1)
    centre_x = size[1] * (0.5 + settings.translate * rng.uniform(-1, 1))
    centre_y = size[0] * (0.5 + settings.translate * rng.uniform(-1, 1))
    return zoom, centre_x, centre_y


def random_affine(
    image_bgr: np.ndarray,
    target: Target,
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Target]:
    """Fit one image into (height, width) with a random scale and shift, in a single resampling."""
    zoom, centre_x, centre_y = draw_zoom(settings, size, rng)
    place = fit(image_bgr.shape[:2], size).then(
        zoom, centre_x - zoom * size[1] / 2, centre_y - zoom * size[0] / 2
    )
    out = cv2.warpAffine(
        image_bgr,
        place.matrix(),
        (size[1], size[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(PAD_VALUE, PAD_VALUE, PAD_VALUE),
    )
    return out, clip_target(
        place.boxes(target.boxes_xyxy_px), target.labels, (0, 0, size[1], size[0])
    )


def stretched(
    image_bgr: np.ndarray,
    target: Target,
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Target]:
    """Stretch one image to (height, width), then scale and shift it where the settings say so."""
    image, geometry = stretch(image_bgr, size)
    boxes = geometry.to_network(target.boxes_xyxy_px)
    moved = clip_target(boxes, target.labels, (0, 0, size[1], size[0]), 1.0, min_visible=0)
    if settings.scale or settings.translate:
        image, moved = random_affine(image, moved, size, settings, rng)
    return image, moved


Place = Callable[
    [np.ndarray, Target, tuple[int, int], AugmentSettings, np.random.Generator],
    tuple[np.ndarray, Target],
]

PLACES: dict[str, Place] = {'letterbox': random_affine, 'stretch': stretched}
"""How an augmented image gets the size of the network input, by the resize of the detector."""


def clip_target(
    boxes_xyxy_px: np.ndarray,
    labels: np.ndarray,
    window: tuple[float, float, float, float],
    min_side_px: float = _MIN_SIDE_PX,
    min_visible: float = _MIN_VISIBLE,
) -> Target:
    """Clip boxes to a window (left, top, right, bottom); drop those of which little is left.

    Args:
        boxes_xyxy_px: (N, 4) float32.
        labels: (N,) int64.
        window: where boxes may be.
        min_side_px: shortest side kept.
        min_visible: smallest part of its area that a box may keep.
    """
    left, top, right, bottom = window
    limits = (
        np.array((left, top, left, top), np.float32),
        np.array((right, bottom, right, bottom), np.float32),
    )
    clipped = np.clip(boxes_xyxy_px, *limits)
    sides, whole = clipped[:, 2:] - clipped[:, :2], boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    visible = sides.prod(axis=1) >= min_visible * whole.prod(axis=1)
    kept = visible & (sides >= min_side_px).all(axis=1)
    return Target(clipped[kept].astype(np.float32, copy=False), labels[kept])


def flip_horizontally(image: np.ndarray, target: Target) -> tuple[np.ndarray, Target]:
    """Mirror an image and its boxes left to right."""
    boxes = target.boxes_xyxy_px.copy()
    boxes[:, (0, 2)] = image.shape[1] - target.boxes_xyxy_px[:, (2, 0)]
    return cv2.flip(image, 1), Target(boxes, target.labels)


def vary_colour(
    image_bgr: np.ndarray, gains: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """Shift the hue and scale saturation and brightness at random; return RGB (H, W, 3) uint8.

    The channels are turned to RGB in passing, which is what the network takes.
    """
    if not any(gains):
        return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
    hue, saturation, value = np.asarray(gains) * rng.uniform(-1, 1, 3)
    steps = np.arange(256, dtype=np.float64)
    table = np.empty((1, 256, 3), np.uint8)
    table[0, :, 0] = (np.rint(steps + 180 * hue) % 180).astype(np.uint8)
    table[0, :, 1] = np.clip(np.rint(steps * (1 + saturation)), 0, 255).astype(np.uint8)
    table[0, :, 2] = np.clip(np.rint(steps * (1 + value)), 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)

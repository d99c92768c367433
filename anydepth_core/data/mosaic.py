"""Mosaic: four images around a random centre, seen through a random window."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anydepth_core.data.augment import AugmentSettings, clip_target, draw_zoom, Placement
from anydepth_core.data.preprocess import PAD_VALUE
from anydepth_core.structures import Target


def mosaic(
    samples: Sequence[tuple[np.ndarray, Target]],
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Target]:
    """Put four images together and cut out an input of (height, width).

    On a canvas of twice the input size the images touch a centre drawn from its middle half, each
    scaled to fit one input. The window on that canvas has a random scale and shift. Canvas and
    window are never drawn in between: every image is resampled once, only where it is seen.

    Args:
        samples: four (image_bgr, target), for above left, above right, below left and below right
            of the centre.
        size: (height, width) of the output.
        settings: the ranges of scale and shift.
        rng: source of chance.

    Returns:
        The image (H, W, 3) uint8 BGR and its target in pixels of it.
    """
    height, width = size
    zoom, middle_x, middle_y = draw_zoom(settings, size, rng)
    # the window shows the canvas middle at (middle_x, middle_y), the images' common corner here:
    corner_x = middle_x + zoom * width * rng.uniform(-0.5, 0.5)
    corner_y = middle_y + zoom * height * rng.uniform(-0.5, 0.5)
    out = np.full((height, width, 3), PAD_VALUE, np.uint8)
    parts = []
    for position, (image, target) in enumerate(samples):
        rows, columns = image.shape[:2]
        scale = zoom * min(height / rows, width / columns)
        left = corner_x if position % 2 else corner_x - scale * columns
        top = corner_y if position // 2 else corner_y - scale * rows
        place = Placement(scale, left, top)
        _paint(out, image, place)
        parts.append(
            clip_target(place.boxes(target.boxes_xyxy_px), target.labels, (0, 0, width, height))
        )
    boxes = np.concatenate([part.boxes_xyxy_px for part in parts])
    return out, Target(boxes, np.concatenate([part.labels for part in parts]))


def _paint(out: np.ndarray, image: np.ndarray, place: Placement) -> None:
    """Write the visible part of an image, up to whole pixels so that neighbours do not overlap."""
    rows, columns = image.shape[:2]
    x0, x1 = (
        int(np.clip(round(x), 0, out.shape[1]))
        for x in (place.left, place.left + place.scale * columns)
    )
    y0, y1 = (
        int(np.clip(round(y), 0, out.shape[0]))
        for y in (place.top, place.top + place.scale * rows)
    )
    if x1 <= x0 or y1 <= y0:
        return
    out[y0:y1, x0:x1] = cv2.warpAffine(
        image,
        place.matrix(x0, y0),
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )

"""Zoom-out and crop: other sizes and parts of the objects of one image.

The data augmentation of SSD (arXiv 1512.02325, sections 2.2 and 3.6), with the ranges that
torchvision publishes as ``RandomZoomOut`` and ``RandomIoUCrop``, which RT-DETR is trained with.
Both choose a window on the plane that the image lies in; pixels are copied once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anydepth_core.data.augment import AugmentSettings, clip_target
from anydepth_core.structures import Target

LARGEST_CANVAS = 4.0  # sides of the zoomed-out canvas over those of the image, at most
LEAST_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # of a crop and one object; 1: no crop
SIDES = (0.3, 1.0)  # of a crop over those of the window
ASPECT_RATIOS = (0.5, 2.0)
TRIALS = 40

_MIN_SIDE_PX = 1.0


@dataclass(frozen=True)
class Window:
    """A rectangle in whole pixels of an image; it may reach beyond the image."""

    left: int
    top: int
    right: int
    bottom: int


def zoom_and_crop(
    image_bgr: np.ndarray, target: Target, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, Target]:
    """Put an image on a larger canvas and cut a part out, each with its probability.

    Args:
        image_bgr: (H, W, 3) uint8; it stays as it is.
        target: ground truth in pixels of the image.
        settings: ``zoom_out``, ``zoom_out_fill`` and ``crop`` are used.
        rng: source of chance.

    Returns:
        The image, of another size or a view of the one given, and what is left of the ground
        truth in pixels of it.
    """
    window = Window(0, 0, image_bgr.shape[1], image_bgr.shape[0])
    kept = np.ones(len(target.labels), bool)
    if settings.zoom_out and rng.random() < settings.zoom_out:
        window = zoom_out((image_bgr.shape[0], image_bgr.shape[1]), rng)
    if settings.crop and rng.random() < settings.crop:
        window, kept = iou_crop(window, target.boxes_xyxy_px, rng)
    left = Target(target.boxes_xyxy_px[kept], target.labels[kept])
    return cut(image_bgr, left, window, settings.zoom_out_fill)


def zoom_out(image_size: tuple[int, int], rng: np.random.Generator) -> Window:
    """Draw a canvas of one to four times the sides of the image, somewhere around the image."""
    factor = rng.uniform(1, LARGEST_CANVAS)
    height, width = (int(side * factor) for side in image_size)
    left = int((width - image_size[1]) * rng.random())
    top = int((height - image_size[0]) * rng.random())
    return Window(-left, -top, width - left, height - top)


def iou_crop(
    window: Window, boxes_xyxy_px: np.ndarray, rng: np.random.Generator
) -> tuple[Window, np.ndarray]:
    """Draw a part of the window that overlaps an object by at least a drawn amount.

    How much one object and the part must overlap (intersection over union) is drawn again when
    no part is found in a number of trials, until one is found or the draw says not to crop.
    Without objects nothing is cropped.

    Args:
        window: where to crop.
        boxes_xyxy_px: (N, 4), in pixels of the image, inside the window.
        rng: source of chance.

    Returns:
        The part, and (N,) bool: objects whose centre is in it.
    """
    while len(boxes_xyxy_px):
        least = rng.choice(LEAST_OVERLAPS)
        if least == 1:
            break
        parts = _parts(window, rng)
        inside = _centres_inside(parts, boxes_xyxy_px)
        overlaps = np.where(inside, _overlaps(parts, boxes_xyxy_px), -1).max(axis=1)
        found = np.flatnonzero(overlaps >= least)
        if len(found):
            return Window(*parts[found[0]].tolist()), inside[found[0]]
    return window, np.ones(len(boxes_xyxy_px), bool)


def cut(
    image_bgr: np.ndarray, target: Target, window: Window, fill: int
) -> tuple[np.ndarray, Target]:
    """Return what a window shows: the image, ``fill`` beyond it, and the objects in it."""
    height, width = window.bottom - window.top, window.right - window.left
    top, left = max(window.top, 0), max(window.left, 0)
    seen = image_bgr[top : max(window.bottom, top), left : max(window.right, left)]
    if seen.shape[:2] != (height, width):
        canvas = np.full((height, width, 3), fill, np.uint8)
        y, x = top - window.top, left - window.left
        canvas[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
        seen = canvas
    boxes = target.boxes_xyxy_px - np.array((window.left, window.top) * 2, np.float32)
    limits = (0, 0, width, height)
    return seen, clip_target(boxes, target.labels, limits, _MIN_SIDE_PX, min_visible=0)


def _parts(window: Window, rng: np.random.Generator) -> np.ndarray:
    """(P, 4) int64 corners of drawn parts of the window, those of extreme shape left out."""
    whole = np.array((window.right - window.left, window.bottom - window.top))
    sides = (whole * rng.uniform(*SIDES, (TRIALS, 2))).astype(np.int64)
    corners = ((whole - sides) * rng.random((TRIALS, 2))).astype(np.int64)
    corners += (window.left, window.top)
    ratios = sides[:, 0] / np.maximum(sides[:, 1], 1)
    legal = (sides >= 1).all(axis=1) & (ratios >= ASPECT_RATIOS[0]) & (ratios <= ASPECT_RATIOS[1])
    return np.concatenate((corners, corners + sides), axis=1)[legal]


def _centres_inside(parts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P, N) bool: whether the centre of a box is in a part."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centres > parts[:, None, :2]) & (centres < parts[:, None, 2:])).all(axis=2)


def _overlaps(parts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P, N) intersection over union."""
    sides = np.minimum(parts[:, None, 2:], boxes[:, 2:]) - np.maximum(
        parts[:, None, :2], boxes[:, :2]
    )
    intersection = np.maximum(sides, 0).prod(axis=2)
    areas = [(corners[:, 2:] - corners[:, :2]).prod(axis=1) for corners in (parts, boxes)]
    return intersection / (areas[0][:, None] + areas[1] - intersection)

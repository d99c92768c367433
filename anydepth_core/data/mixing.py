"""Two training images in one: copy-paste puts objects of one into the other, mixup blends both."""

from __future__ import annotations

import math

import cv2
import numpy as np

from anydepth_core.structures import Target

MOST_HIDDEN = 0.3
"""Less than this share of an object may vanish behind one that is pasted."""

MIXUP_BETA = 32.0
"""Both parameters of the beta distribution of the weights: close to one half, 0.38 to 0.62."""

Sample = tuple[np.ndarray, Target]


def copy_paste(
    sample: Sample, source: Sample, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, Target]:
    """Paste objects of one image into another of the same size, at the places they have.

    After Simple Copy-Paste (arXiv 2012.07177), which pastes along masks. Detection data has boxes
    only, so the whole box is pasted, with what is around the object in it and a hard edge. An
    object that would hide :data:`MOST_HIDDEN` or more of another is left out. What else of the
    source is visible in a pasted box, but for less than that share, keeps its label.

    Args:
        sample: image (H, W, 3) uint8 and target; both stay as they are.
        source: image of the same size and target that objects are taken from.
        share: chance of each object of the source, 0 to 1.
        rng: source of chance.
    """
    image, boxes, labels = sample[0].copy(), sample[1].boxes_xyxy_px, sample[1].labels
    others, other_labels = source[1].boxes_xyxy_px, source[1].labels
    for window in others[rng.random(len(others)) < share]:
        if hidden_shares(boxes, window).max(initial=0.0) >= MOST_HIDDEN:
            continue
        taken = hidden_shares(others, window) > 1 - MOST_HIDDEN
        _paste(image, source[0], window)
        limits = np.tile(window[:2], 2), np.tile(window[2:], 2)
        boxes = np.concatenate((boxes, np.clip(others[taken], *limits)))
        labels = np.concatenate((labels, other_labels[taken]))
    return image, Target(boxes, labels)


def hidden_shares(boxes_xyxy_px: np.ndarray, window_xyxy_px: np.ndarray) -> np.ndarray:
    """Return the share (N,) of the area of each box (N, 4) that lies in the window (4,)."""
    corners = np.maximum(boxes_xyxy_px[:, :2], window_xyxy_px[:2])
    sides = np.minimum(boxes_xyxy_px[:, 2:], window_xyxy_px[2:]) - corners
    areas = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).prod(axis=1)
    return np.maximum(sides, 0).prod(axis=1) / areas


def mixup(first: Sample, second: Sample, rng: np.random.Generator) -> tuple[np.ndarray, Target]:
    """Blend two images of the same size with nearly even weights; both keep their objects.

    Mixup (arXiv 1710.09412) as it is used for detection (arXiv 1902.04103): the weights come from
    a beta distribution around one half, and those of the losses stay one.

    Args:
        first: image (H, W, 3) uint8 and target; both stay as they are.
        second: the same of the other image.
        rng: source of chance.
    """
    weight = rng.beta(MIXUP_BETA, MIXUP_BETA)
    image = cv2.addWeighted(first[0], weight, second[0], 1 - weight, 0)
    return image, Target(
        np.concatenate((first[1].boxes_xyxy_px, second[1].boxes_xyxy_px)),
        np.concatenate((first[1].labels, second[1].labels)),
    )


def _paste(image: np.ndarray, source: np.ndarray, window_xyxy_px: np.ndarray) -> None:
    """Copy the pixels that a box touches."""
    x0, y0 = (math.floor(value) for value in window_xyxy_px[:2])
    x1, y1 = (math.ceil(value) for value in window_xyxy_px[2:])
    image[y0:y1, x0:x1] = source[y0:y1, x0:x1]

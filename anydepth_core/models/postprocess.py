"""From the network's boxes and scores to detections in the received image; numpy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anydepth_core.data.preprocess import Geometry
from anydepth_core.structures import Detections

_CHUNK = 256


@dataclass(frozen=True)
class PostprocessSettings:
    """What counts as a detection.

    Attributes:
        confidence: lowest score kept, 0 to 1.
        iou: of two boxes of one class that overlap by more than this, the one with the lower
            score is dropped, 0 to 1; without effect on detectors that need no suppression.
        max_detections: most detections of one image.
        classes: labels to keep, None keeps all.
        multi_label: an anchor may give one detection per class (evaluation), otherwise only its
            best class counts.
        max_candidates: only so many highest-scored boxes enter the suppression.
    """

    confidence: float = 0.25
    iou: float = 0.7
    max_detections: int = 300
    classes: tuple[int, ...] | None = None
    multi_label: bool = False
    max_candidates: int = 3000

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ('confidence', 'iou'):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f'{name} {value!r} is not legal: give a number from 0 to 1')
        for name in ('max_detections', 'max_candidates'):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(
                    f'{name} {value!r} is not legal: give a whole number of at least 1'
                )
        if self.classes is not None and (not self.classes or min(self.classes) < 0):
            raise ValueError(
                f'classes {self.classes!r} is not legal: give labels from 0 on, or None for all'
            )


EVALUATION: dict[str, PostprocessSettings] = {
    'class_nms': PostprocessSettings(confidence=0.001, multi_label=True, max_candidates=30000),
    'none': PostprocessSettings(confidence=0.0, multi_label=True),
}
"""Settings of COCO evaluation by suppression, as published.

Keep nearly everything, count an anchor for several classes; without suppression the best 300 of
all queries and classes, whatever their score (RT-DETR, arXiv 2304.08069).
"""

DEFAULT = PostprocessSettings()
"""Settings of a robot: one class per anchor, few candidates."""


def postprocess(
    boxes_cxcywh_px: np.ndarray,
    scores: np.ndarray,
    geometry: Geometry,
    settings: PostprocessSettings = DEFAULT,
    suppression: str = 'class_nms',
) -> Detections:
    """Select the detections of one image.

    Boxes that are not finite, or empty once clipped to the image, are dropped before the
    suppression.

    Args:
        boxes_cxcywh_px: (4, A) float32, centre and size in network pixels.
        scores: (C, A) float32 in [0, 1].
        geometry: how the image was placed in the network input.
        settings: what counts as a detection.
        suppression: what becomes of boxes that overlap: ``class_nms`` drops them class by class,
            ``none`` keeps them (detectors that give each object one box).

    Returns:
        Detections in pixels of the received image, highest score first.

    Raises:
        ValueError: if the shapes do not fit together, a class of the settings does not exist or
            there is no such suppression.
    """
    _check(boxes_cxcywh_px, scores, settings)
    suppress = suppression_of(suppression)
    anchors, labels, values = _candidates(scores, settings)
    with np.errstate(invalid='ignore', over='ignore'):
        boxes = _corners(boxes_cxcywh_px[:, anchors].T)
        in_image = geometry.to_image(boxes)
    usable = _usable(boxes, in_image, values)
    if not usable.all():
        boxes, in_image, labels, values = (
            boxes[usable],
            in_image[usable],
            labels[usable],
            values[usable],
        )
    kept = suppress(boxes, labels, settings.iou, settings.max_detections)
    return Detections(in_image[kept], values[kept], labels[kept])


def non_maximum_suppression(
    boxes_xyxy_px: np.ndarray, labels: np.ndarray, iou: float, max_detections: int
) -> np.ndarray:
    """Drop each box that overlaps a kept box of the same class by more than ``iou``.

    The greedy rule, exactly, in chunks: boxes are compared with what is kept so far and with
    their own chunk only, and the search ends when enough are kept.

    Args:
        boxes_xyxy_px: (N, 4) float32, highest score first.
        labels: (N,) int64.
        iou: overlap above which the later box is dropped.
        max_detections: number of boxes after which the search ends.

    Returns:
        (K,) int64 indices of the kept boxes, ascending.
    """
    kept = np.zeros(0, np.int64)
    for start in range(0, len(boxes_xyxy_px), _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, len(boxes_xyxy_px)))
        if len(kept):
            hidden = _overlaps(boxes_xyxy_px, labels, kept, chunk, iou).any(axis=0)
            chunk = chunk[~hidden]
        kept = np.concatenate(
            (kept, chunk[_greedy(_overlaps(boxes_xyxy_px, labels, chunk, chunk, iou))])
        )
        if len(kept) >= max_detections:
            break
    return kept[:max_detections]


def no_suppression(
    boxes_xyxy_px: np.ndarray, labels: np.ndarray, iou: float, max_detections: int
) -> np.ndarray:
    """Keep the first boxes, whatever they overlap; see :func:`non_maximum_suppression`."""
    return np.arange(min(len(boxes_xyxy_px), max_detections))


Suppression = Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]

SUPPRESSIONS: dict[str, Suppression] = {
    'class_nms': non_maximum_suppression,
    'none': no_suppression,
}
"""What becomes of boxes that overlap, by the name that detectors and bundles use."""


def suppression_of(name: str) -> Suppression:
    """Return a suppression by its name.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in SUPPRESSIONS:
        raise ValueError(f'suppression {name!r} is not legal: give {" or ".join(SUPPRESSIONS)}')
    return SUPPRESSIONS[name]


def _greedy(overlaps: np.ndarray) -> np.ndarray:
    """Return the indices that survive when each survivor hides the later ones it overlaps.

    Args:
        overlaps: (N, N) bool.
    """
    hidden = np.zeros(len(overlaps), bool)
    later = np.triu(overlaps, k=1)
    for index in np.flatnonzero(later.any(axis=1)):
        if not hidden[index]:
            hidden |= later[index]
    return np.flatnonzero(~hidden)


def _overlaps(
    boxes: np.ndarray, labels: np.ndarray, first: np.ndarray, second: np.ndarray, iou: float
) -> np.ndarray:
    """(len(first), len(second)) bool: same class and intersection over union above ``iou``."""
    one, two = boxes[first, None], boxes[None, second]
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    np.maximum(sides, 0, out=sides)
    intersection = sides[..., 0] * sides[..., 1]
    areas = _areas(one) + _areas(two) - intersection
    same = labels[first, None] == labels[None, second]
    return same & (intersection > iou * areas)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _candidates(
    scores: np.ndarray, settings: PostprocessSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchor, label and score of what reaches the confidence, highest score first, stable."""
    if settings.multi_label:
        labels, anchors = np.nonzero(scores >= settings.confidence)
        values = scores[labels, anchors]
    else:
        anchors = np.flatnonzero(scores.max(axis=0) >= settings.confidence)
        chosen = scores[:, anchors]
        labels = chosen.argmax(axis=0)
        values = chosen.max(axis=0)
    if settings.classes is not None:
        wanted = np.isin(labels, settings.classes)
        anchors, labels, values = anchors[wanted], labels[wanted], values[wanted]
    order = np.argsort(-values, kind='stable')[: settings.max_candidates]
    return anchors[order], labels[order].astype(np.int64), values[order].astype(np.float32)


def _corners(boxes_cxcywh: np.ndarray) -> np.ndarray:
    half = boxes_cxcywh[:, 2:] / 2
    return np.concatenate(
        (boxes_cxcywh[:, :2] - half, boxes_cxcywh[:, :2] + half), axis=1, dtype=np.float32
    )


def _usable(boxes: np.ndarray, in_image: np.ndarray, values: np.ndarray) -> np.ndarray:
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(values)
    return finite & (in_image[:, 2] > in_image[:, 0]) & (in_image[:, 3] > in_image[:, 1])


def _check(boxes: np.ndarray, scores: np.ndarray, settings: PostprocessSettings) -> None:
    if (
        boxes.ndim != 2
        or scores.ndim != 2
        or boxes.shape[0] != 4
        or boxes.shape[1] != scores.shape[1]
    ):
        raise ValueError(
            f'boxes of shape {boxes.shape} and scores of shape {scores.shape} '
            'do not fit together: give (4, A) and (classes, A) of one image'
        )
    if settings.classes is not None and max(settings.classes) >= scores.shape[0]:
        raise ValueError(
            f'class {max(settings.classes)} does not exist: '
            f'the model has the labels 0 to {scores.shape[0] - 1}'
        )

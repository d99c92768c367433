"""Whether two ways to run a detector find the same in the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from anydepth_core.depth import OperatingPoint
from anydepth_core.models.postprocess import DEFAULT
from anydepth_core.structures import Detections

BOX_PX = 0.5
SCORE = 0.01
_LEAST_IOU = 0.5

Detect = Callable[[np.ndarray, OperatingPoint], Detections]
"""Runs one (H, W, 3) uint8 BGR image at an operating point."""


@dataclass(frozen=True)
class Comparison:
    """How far two lists of detections of the same images are apart.

    Attributes:
        matched: pairs of one class that overlap.
        box_px: largest difference of a box side within a pair, in pixels of the image.
        score: largest difference of the scores of a pair.
        borderline: detections without a partner whose score is within ``SCORE`` of the threshold.
        unmatched: other detections without a partner.
    """

    matched: int
    box_px: float
    score: float
    borderline: int
    unmatched: int

    @property
    def same(self) -> bool:
        """Whether nothing differs by more than ``BOX_PX`` and ``SCORE``."""
        return not self.unmatched and self.box_px <= BOX_PX and self.score <= SCORE

    def __str__(self) -> str:
        """Describe it in one line."""
        return (
            f'{self.matched} matched, boxes within {self.box_px:.3f} px, '
            f'scores within {self.score:.4f}, {self.borderline} at the threshold, '
            f'{self.unmatched} unmatched'
        )


def compare(
    one: Sequence[Detections], other: Sequence[Detections], threshold: float = DEFAULT.confidence
) -> Comparison:
    """Compare image by image; the detections of an image are matched one to one.

    Args:
        one: detections of each image.
        other: those of the other side, in the same order.
        threshold: lowest score that counts as a detection on both sides.
    """
    matched = borderline = unmatched = 0
    box_px = score = 0.0
    for first, second in zip(one, other, strict=True):
        rows, columns = match(first, second)
        matched += len(rows)
        sides = np.abs(first.boxes_xyxy_px[rows] - second.boxes_xyxy_px[columns])
        box_px = max(box_px, float(sides.max(initial=0.0)))
        scores = np.abs(first.scores[rows] - second.scores[columns])
        score = max(score, float(scores.max(initial=0.0)))
        left = np.concatenate((np.delete(first.scores, rows), np.delete(second.scores, columns)))
        near = int((left <= threshold + SCORE).sum())
        borderline, unmatched = borderline + near, unmatched + len(left) - near
    return Comparison(matched, box_px, score, borderline, unmatched)


def match(one: Detections, other: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Pair detections of one class, those that overlap most first.

    Returns:
        Indices into ``one`` and into ``other``, (M,) int64 each.
    """
    overlaps = _overlaps(one, other)
    pairs: list[tuple[int, int]] = []
    while overlaps.size and overlaps.max() >= _LEAST_IOU:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        pairs.append((int(row), int(column)))
        overlaps[row], overlaps[:, column] = -1, -1
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return rows, columns


def compare_all(
    candidates: Mapping[str, Detect],
    points: Sequence[OperatingPoint],
    images: Sequence[np.ndarray],
    threshold: float = DEFAULT.confidence,
) -> Iterator[tuple[OperatingPoint, str, str, Comparison]]:
    """Run every candidate on every image and compare all pairs.

    Args:
        candidates: what is compared, by name.
        points: operating points, one after the other.
        images: (H, W, 3) uint8 BGR each.
        threshold: lowest score that counts as a detection.

    Yields:
        Operating point, the names of two candidates and how far they are apart.
    """
    for point in points:
        found = {
            name: [detect(image, point) for image in images] for name, detect in candidates.items()
        }
        for one, other in combinations(found, 2):
            yield point, one, other, compare(found[one], found[other], threshold)


def _overlaps(one: Detections, other: Detections) -> np.ndarray:
    """(N, M) intersection over union, -1 where the classes differ."""
    first, second = one.boxes_xyxy_px[:, None], other.boxes_xyxy_px[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (first, second)]
    same = one.labels[:, None] == other.labels[None]
    return np.where(same, shared / np.maximum(areas[0] + areas[1] - shared, 1e-9), -1.0)

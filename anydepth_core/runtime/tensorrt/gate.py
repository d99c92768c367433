"""Whether an engine finds what ONNX Runtime finds with the float32 graph of the same point.

Builders have returned wrong numbers without any error, so every engine is compared before it is
used. Both directions count: what the reference finds must be found, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anydepth_core.data.pictures import read_pictures
from anydepth_core.data.preprocess import preprocess

Outputs = tuple[np.ndarray, np.ndarray]
"""Boxes (4, A) as cx, cy, w, h in network pixels, scores (C, A) in [0, 1]."""

WORST_LEVEL, MEAN_LEVEL = 1.5, 0.25
"""How much a pixel may differ, in levels of 255: interpolation rounds to one of two levels."""


@dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Attributes:
        confident: detections with this score or more are compared one by one.
        box_px: largest difference of a box coordinate in network pixels; boxes of more than a
            hundred pixels may differ by one per cent of their longer side.
        score: largest difference of a score.
        agreement: share of the detections that must agree.
        top: so many of the highest scores of an image are compared as a list.
        mean_score: largest mean difference between those lists.
    """

    confident: float = 0.25
    box_px: float = 1.0
    score: float = 0.02
    agreement: float = 0.98
    top: int = 100
    mean_score: float = 0.01


@dataclass(frozen=True)
class Verdict:
    """Result of a check.

    Attributes:
        passed: whether the engine may be used.
        images: images compared.
        detections: confident detections compared.
        agreement: share of them that agree; 1 where there are none.
        worst: largest difference among those that agree, 1 being the whole tolerance.
        mean_score: largest mean difference of the highest scores of an image.
        reason: what is wrong, empty if it passed.
    """

    passed: bool
    images: int
    detections: int
    agreement: float
    worst: float
    mean_score: float
    reason: str = ''

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge(
    reference: Callable[[np.ndarray], Outputs],
    engine: Callable[[np.ndarray], Outputs],
    images: Sequence[np.ndarray],
    tolerance: Tolerance = Tolerance(),
) -> Verdict:
    """Compare an engine with the reference.

    Args:
        reference: runs one (1, 3, H, W) float32 input.
        engine: likewise.
        images: inputs.
        tolerance: what counts as the same.
    """
    found = agreeing = 0
    worst = mean_score = 0.0
    for image in images:
        expected, given = reference(image), engine(image)
        wrong = _unusable(expected, given)
        if wrong:
            return Verdict(False, len(images), found, 0.0, worst, mean_score, wrong)
        for one, other in ((expected, given), (given, expected)):
            distances = _distances(one, other, tolerance)
            same = distances <= 1
            found, agreeing = found + len(distances), agreeing + int(same.sum())
            worst = max(worst, float(distances[same].max(initial=0.0)))
        mean_score = max(mean_score, _score_shift(expected[1], given[1], tolerance.top))
    agreement = agreeing / found if found else 1.0
    reasons = []
    if agreement < tolerance.agreement:
        reasons.append(f'only {agreement:.1%} of the detections agree with ONNX Runtime')
    if mean_score > tolerance.mean_score:
        reasons.append(f'the highest scores differ by {mean_score:.3f} in the mean')
    return Verdict(
        not reasons, len(images), found, agreement, worst, mean_score, ' and '.join(reasons)
    )


@dataclass(frozen=True)
class PixelVerdict:
    """Result of a check of preprocessing.

    Attributes:
        passed: whether the engine may be used.
        images: images compared.
        worst_level: largest difference of a pixel, in levels of 255.
        mean_level: mean difference of the pixels of an image, in levels; the largest of all.
        reason: what is wrong, empty if it passed.
    """

    passed: bool
    images: int
    worst_level: float
    mean_level: float
    reason: str = ''

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge_pixels(
    reference: Callable[[np.ndarray], np.ndarray],
    engine: Callable[[np.ndarray], np.ndarray],
    pictures: Iterable[np.ndarray],
) -> PixelVerdict:
    """Compare preprocessing on the device with that on the processor.

    Args:
        reference: makes a (3, H, W) float32 input in [0, 1] of one image.
        engine: likewise.
        pictures: images as the camera gives them.
    """
    count, worst, mean = 0, 0.0, 0.0
    for count, picture in enumerate(pictures, 1):
        expected, given = reference(picture), engine(picture)
        if not np.isfinite(given).all():
            return PixelVerdict(False, count, worst, mean, 'pixels are not finite')
        levels = 255 * np.abs(expected - given)
        worst, mean = max(worst, float(levels.max())), max(mean, float(levels.mean()))
    reason = ''
    if worst > WORST_LEVEL or mean > MEAN_LEVEL:
        reason = f'pixels differ by up to {worst:.1f} levels of 255, {mean:.2f} in the mean'
    return PixelVerdict(not reason, count, worst, mean, reason)


def sample_images(
    source: Path | None, count: int, size: tuple[int, int], resize: str
) -> list[np.ndarray]:
    """Return network inputs to compare on.

    Args:
        source: a folder of images or a video of what the detector is for; None for drawn scenes.
        count: how many at most.
        size: (height, width) of the network input.
        resize: how the bundle makes an input of an image.

    Raises:
        ValueError: if there is no image.
    """
    pictures = drawn(count, size) if source is None else read_pictures(source, count)
    inputs = [preprocess(picture, size, resize)[0] for picture in pictures]
    if not inputs:
        raise ValueError(f'{source} holds no image: give a folder of images or a video')
    return inputs


def _unusable(expected: Outputs, given: Outputs) -> str:
    for name, one, other in zip(('boxes', 'scores'), expected, given):
        if one.shape != other.shape:
            return f'{name} have the shape {other.shape}, expected {one.shape}'
        if not np.isfinite(other).all():
            return f'{name} are not finite'
    return ''


def _distances(one: Outputs, other: Outputs, tolerance: Tolerance) -> np.ndarray:
    """Distance of each confident detection to the nearest in the other; up to 1 is the same.

    The order of the anchors does not matter: a top-k in the graph may swap equal scores.
    """
    labels, anchors = np.nonzero(one[1] >= tolerance.confident)
    if not len(labels):
        return np.zeros(0)
    nearest = []
    for label, anchor in zip(labels, anchors):
        box = one[0][:, anchor]
        allowed = max(tolerance.box_px, 0.01 * float(box[2:].max()))
        boxes = np.abs(other[0] - box[:, None]).max(axis=0) / allowed
        scores = np.abs(other[1][label] - one[1][label, anchor]) / tolerance.score
        nearest.append(np.maximum(boxes, scores).min())
    return np.array(nearest)


def _score_shift(expected: np.ndarray, given: np.ndarray, top: int) -> float:
    lists = [np.sort(scores, axis=None)[::-1][:top] for scores in (expected, given)]
    return float(np.abs(lists[0] - lists[1]).mean())


def drawn(count: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Draw scenes of coloured shapes on shaded grounds: no objects, but edges of every kind."""
    for seed in range(count):
        random = np.random.default_rng(seed)
        small = random.integers(0, 256, (4, 4, 3), np.uint8)
        scene = cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        for _ in range(8):
            colour = [int(value) for value in random.choice((0, 64, 128, 255), 3)]
            corner, far = map(tuple, random.integers(0, min(size), (2, 2)).tolist())
            if random.random() < 0.5:
                cv2.rectangle(scene, corner, far, colour, -1)
            else:
                cv2.circle(scene, corner, max(2, abs(far[0] - corner[0]) // 2), colour, -1)
        yield scene

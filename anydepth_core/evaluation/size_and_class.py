"""Average precision and recall by object size and per class, so that a user can choose a floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Any

import numpy as np

from anydepth_core.evaluation.coco_metric import accumulated, statistics_of
from anydepth_core.text_table import aligned

SIZES = ('small', 'medium', 'large')
"""Object sizes of COCO: area below 32x32 pixels, below 96x96, and above."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class, 0 to 1, NaN where the data have no object of it.

    Attributes:
        name: of the class.
        objects: how many the scored images have.
        ap: average precision, IoU 0.50 to 0.95.
        recall: average recall with at most 100 detections an image.
    """

    name: str
    objects: int
    ap: float
    recall: float


@dataclass(frozen=True)
class Breakdown:
    """All figures of one operating point.

    Attributes:
        statistics: the twelve of COCO by name; AP and AR by object size are among them.
        classes: one entry per category, in the order of the annotation file.
    """

    statistics: dict[str, float]
    classes: tuple[ClassFigures, ...]


def breakdown(
    coco_dict: dict[str, Any], detections: Sequence[dict[str, Any]], image_ids: Sequence[int]
) -> Breakdown:
    """Score detections as :func:`~anydepth_core.evaluation.coco_metric.coco_statistics` does.

    Args:
        coco_dict: a parsed annotation file.
        detections: COCO results.
        image_ids: images to score.

    Raises:
        ValueError: if a detection names an image or category that the annotations do not list.
        RuntimeError: if faster-coco-eval is not installed.
    """
    evaluation = accumulated(coco_dict, detections, image_ids)
    # precision: (IoU thresholds, recalls, classes, sizes, limits of detections); recall: the same
    # without recalls. The first size is 'all', the last limit 100; -1 means no object.
    precision = np.asarray(evaluation.eval['precision'])[:, :, :, 0, -1]
    recall = np.asarray(evaluation.eval['recall'])[:, :, 0, -1]
    chosen = set(image_ids)
    counts = dict.fromkeys(evaluation.params.catIds, 0)
    for annotation in coco_dict['annotations']:
        if annotation['image_id'] in chosen and not annotation.get('iscrowd', 0):
            counts[annotation['category_id']] += 1
    by_id = {
        category: (_mean(precision[:, :, index]), _mean(recall[:, index]))
        for index, category in enumerate(evaluation.params.catIds)
    }
    classes = tuple(
        ClassFigures(category['name'], counts[category['id']], *by_id[category['id']])
        for category in coco_dict['categories']
    )
    return Breakdown(statistics_of(evaluation), classes)


def format_by_size(names: Sequence[str], figures: Sequence[Breakdown]) -> str:
    """Return AP and recall by object size as aligned text, one line per operating point."""
    keys = ('AP', *(f'AP_{size}' for size in SIZES), 'AR_100', *(f'AR_{size}' for size in SIZES))
    lines = [('level', *keys)]
    for name, one in zip(names, figures):
        lines.append((name, *(_cell(one.statistics[key]) for key in keys)))
    return aligned(lines, left=1)


def format_by_class(names: Sequence[str], figures: Sequence[Breakdown]) -> str:
    """Return AP / recall of every class as aligned text, one column per operating point."""
    lines = [('class', 'objects', *names)]
    for row in zip(*(one.classes for one in figures), strict=True):
        cells = (f'{_cell(entry.ap)} / {_cell(entry.recall)}' for entry in row)
        lines.append((row[0].name, str(row[0].objects), *cells))
    return aligned(lines, left=1)


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else math.nan


def _cell(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.3f}'

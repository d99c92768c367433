"""The twelve COCO statistics of a list of detections, computed by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import math
from typing import Any

STATISTICS = (
    'AP',
    'AP50',
    'AP75',
    'AP_small',
    'AP_medium',
    'AP_large',
    'AR_1',
    'AR_10',
    'AR_100',
    'AR_small',
    'AR_medium',
    'AR_large',
)
"""Names of the statistics in the order of pycocotools."""


def coco_statistics(
    coco_dict: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    image_ids: Iterable[int] | None = None,
) -> dict[str, float]:
    """Score detections as COCO does: at most 100 of an image and class, IoU 0.50 to 0.95.

    Args:
        coco_dict: a parsed annotation file. A missing ``area`` is taken as the box area, a
            missing ``iscrowd`` as 0; annotation ids are not used (an id of 0 makes the common
            tools miscount a match).
        detections: COCO results: dicts of ``image_id``, ``category_id``, ``bbox`` (left, top,
            width, height in pixels) and ``score``.
        image_ids: score these images only; None scores all of ``coco_dict``.

    Returns:
        :data:`STATISTICS` in 0 to 1; NaN where the annotations have no object of the kind
        (pycocotools: -1).

    Raises:
        ValueError: if a detection names an image or category that the annotations do not list.
        RuntimeError: if faster-coco-eval is not installed.
    """
    return statistics_of(accumulated(coco_dict, detections, image_ids))


def accumulated(
    coco_dict: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    image_ids: Iterable[int] | None = None,
) -> Any:
    """Match detections and objects; return the tool's evaluation, not yet summarised.

    Arguments and errors are those of :func:`coco_statistics`.
    """
    coco_class, evaluation_class = require_faster_coco_eval()
    known = {image['id'] for image in coco_dict['images']}
    chosen = known if image_ids is None else set(image_ids)
    _check_ids(detections, 'image_id', known)
    _check_ids([{'image_id': i} for i in chosen], 'image_id', known)
    _check_ids(detections, 'category_id', {category['id'] for category in coco_dict['categories']})
    truth = coco_class(_boxes_only(coco_dict, chosen), print_function=_silent)
    found = truth.loadRes([_result(d) for d in detections if d['image_id'] in chosen])
    evaluation = evaluation_class(truth, found, iouType='bbox', print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def statistics_of(evaluation: Any) -> dict[str, float]:
    """Return :data:`STATISTICS` of what :func:`accumulated` returns."""
    evaluation.summarize()
    values = [float(value) for value in evaluation.stats[: len(STATISTICS)]]
    return {name: math.nan if value == -1 else value for name, value in zip(STATISTICS, values)}


def require_faster_coco_eval() -> tuple[Any, Any]:
    """Return the tool's two classes; called early, it spares a long run that could not be scored.

    Raises:
        RuntimeError: if faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise RuntimeError(
            'evaluation needs faster-coco-eval: install it with pip install faster-coco-eval'
        ) from None
    return COCO, COCOeval_faster


def _boxes_only(coco_dict: dict[str, Any], image_ids: set[int]) -> dict[str, Any]:
    """Return some images with what box evaluation reads of their annotations, numbered from 1."""
    annotations = [
        {
            'id': number,
            'image_id': annotation['image_id'],
            'category_id': annotation['category_id'],
            'bbox': annotation['bbox'],
            'area': annotation.get('area', annotation['bbox'][2] * annotation['bbox'][3]),
            'iscrowd': annotation.get('iscrowd', 0),
        }
        for number, annotation in enumerate(coco_dict['annotations'], start=1)
        if annotation['image_id'] in image_ids
    ]
    images = [{'id': image['id']} for image in coco_dict['images'] if image['id'] in image_ids]
    categories = [{'id': c['id'], 'name': c['name']} for c in coco_dict['categories']]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _result(detection: dict[str, Any]) -> dict[str, Any]:
    # the tool adds keys to what it is given
    return {key: detection[key] for key in ('image_id', 'category_id', 'bbox', 'score')}


def _check_ids(items: Iterable[dict[str, Any]], key: str, known: set[int]) -> None:
    unknown = sorted({item[key] for item in items} - known)
    if unknown:
        first = ', '.join(map(str, unknown[:5])) + (', ...' if len(unknown) > 5 else '')
        raise ValueError(f'{len(unknown)} {key} values are not in the annotations: {first}')


def _silent(*_: object) -> None:
    """Take the place of the tool's print."""

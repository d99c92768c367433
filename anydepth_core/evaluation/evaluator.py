"""Run a detector over a data set and score it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from anydepth_core.data.coco import CocoDataset
from anydepth_core.evaluation.coco_metric import coco_statistics, require_faster_coco_eval
from anydepth_core.structures import Detections

Predict = Callable[[list[np.ndarray]], Sequence[Detections]]


def evaluate(
    predict: Predict, dataset: CocoDataset, batch_size: int = 16, progress: bool | None = None
) -> dict[str, float]:
    """Detect in every image of a data set and return the twelve COCO statistics.

    Args:
        predict: takes up to ``batch_size`` images (H, W, 3) uint8 BGR, of any and different
            sizes, and returns their detections in pixels of each image. The published figures
            need the settings of :data:`~anydepth_core.models.postprocess.EVALUATION`.
        dataset: images and annotations; detections carry its labels.
        batch_size: images given at once.
        progress: show a progress bar; None shows it on a terminal only.

    Returns:
        Statistics by name, see :func:`~anydepth_core.evaluation.coco_metric.coco_statistics`.

    Raises:
        ValueError: if an image cannot be read, or ``predict`` returns another number of results
            or unknown labels.
        RuntimeError: if faster-coco-eval or tqdm is not installed.
    """
    results = detect_all(predict, dataset, batch_size, progress)
    return coco_statistics(dataset.coco_dict, results, dataset.image_ids)


def detect_all(
    predict: Predict, dataset: CocoDataset, batch_size: int = 16, progress: bool | None = None
) -> list[dict[str, Any]]:
    """Detect in every image of a data set and return COCO results.

    Arguments and errors are those of :func:`evaluate`.
    """
    require_faster_coco_eval()
    results: list[dict[str, Any]] = []
    for batch in batches(len(dataset), batch_size, progress):
        found = predict([dataset.image(index) for index in batch])
        if len(found) != len(batch):
            raise ValueError(f'the detector returned {len(found)} results for {len(batch)} images')
        for index, detections in zip(batch, found):
            results += to_coco_results(detections, dataset.image_ids[index], dataset.category_ids)
    return results


def batches(count: int, batch_size: int, progress: bool | None) -> Iterator[range]:
    """Yield consecutive ranges of indices behind a progress bar that counts images.

    Raises:
        RuntimeError: if tqdm is not installed.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        raise RuntimeError('evaluation needs tqdm: install it with pip install tqdm') from None

    with tqdm(
        total=count,
        desc='evaluating',
        unit='image',
        leave=False,
        disable=None if progress is None else not progress,
    ) as bar:
        for start in range(0, count, batch_size):
            batch = range(start, min(start + batch_size, count))
            yield batch
            bar.update(len(batch))


def to_coco_results(
    detections: Detections, image_id: int, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Turn the detections of one image into COCO results.

    Their ``bbox`` is left, top, width, height in pixels of the image.

    Args:
        detections: labels index ``category_ids``.
        image_id: id of the image in the annotations.
        category_ids: category id of each label.

    Raises:
        ValueError: if a label is not in ``category_ids``.
    """
    if len(detections) == 0:
        return []
    unknown = [label for label in detections.labels.tolist() if not 0 <= label < len(category_ids)]
    if unknown:
        raise ValueError(
            f'a detection has label {unknown[0]}, but the annotations have {len(category_ids)} '
            'categories: the detector was trained for other classes'
        )
    boxes = np.asarray(detections.boxes_xyxy_px, np.float64).copy()
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {
            'image_id': image_id,
            'category_id': category_ids[label],
            'bbox': box,
            'score': score,
        }
        for box, score, label in zip(
            boxes.tolist(), detections.scores.tolist(), detections.labels.tolist()
        )
    ]

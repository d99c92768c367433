"""The evaluator hands over images in batches and scores what comes back."""

from __future__ import annotations

import numpy as np
import pytest

from anydepth_core.data.coco import CocoDataset
from anydepth_core.evaluation.evaluator import evaluate, to_coco_results
from anydepth_core.structures import Detections

SIZES = ((40, 60), (33, 47), (64, 64), (51, 20), (30, 90))
BOXES = [
    (0, 90, 5, 5, 20, 20),
    (0, 3, 30, 10, 12, 25),
    (2, 3, 0, 0, 50, 40),
    (4, 90, 40, 3, 20, 20),
]


@pytest.fixture
def dataset(write_coco) -> CocoDataset:
    return CocoDataset(
        *write_coco(sizes=SIZES, boxes=BOXES, categories=((90, 'nut'), (3, 'bolt')))
    )


class Oracle:
    """A detector that knows the answers and remembers what it was asked."""

    def __init__(self, dataset: CocoDataset, label_shift: int = 0) -> None:
        self.dataset = dataset
        self.label_shift = label_shift
        self.asked: list[list[tuple[int, ...]]] = []

    def __call__(self, images: list[np.ndarray]) -> list[Detections]:
        start = sum(map(len, self.asked))
        self.asked.append([image.shape for image in images])
        targets = [self.dataset.target(start + n) for n in range(len(images))]
        return [
            Detections(
                t.boxes_xyxy_px,
                np.full(len(t.labels), 0.9, np.float32),
                (t.labels + self.label_shift) % 2,
            )
            for t in targets
        ]


@pytest.mark.parametrize('batch_size', [1, 2, 16])
def test_perfect_detections_score_one_for_any_batch_size(dataset, batch_size):
    oracle = Oracle(dataset)
    statistics = evaluate(oracle, dataset, batch_size=batch_size, progress=False)
    assert statistics['AP'] == pytest.approx(1) and len(statistics) == 12
    assert [shape for batch in oracle.asked for shape in batch] == [(*size, 3) for size in SIZES]
    assert max(map(len, oracle.asked)) == min(batch_size, 5)


def test_wrong_labels_score_zero(dataset):
    assert evaluate(Oracle(dataset, label_shift=1), dataset, progress=False)['AP'] == 0


def test_no_detections_score_zero(dataset):
    assert (
        evaluate(lambda images: [Detections.empty()] * len(images), dataset, progress=False)['AP']
        == 0
    )


def test_a_limited_data_set_is_scored_on_its_images_only(write_coco):
    dataset = CocoDataset(
        *write_coco(sizes=SIZES, boxes=BOXES, categories=((90, 'nut'), (3, 'bolt'))), limit=1
    )
    assert evaluate(Oracle(dataset), dataset, progress=False)['AP'] == pytest.approx(1)


def test_another_number_of_results_is_refused(dataset):
    with pytest.raises(ValueError, match='returned 1 results for 2 images'):
        evaluate(lambda images: [Detections.empty()], dataset, batch_size=2, progress=False)


def test_results_are_in_coco_form():
    detections = Detections(
        np.array([[1, 2, 11, 22]], np.float32),
        np.array([0.5], np.float32),
        np.array([1], np.int64),
    )
    assert to_coco_results(detections, 7, (3, 90)) == [
        {'image_id': 7, 'category_id': 90, 'bbox': [1, 2, 10, 20], 'score': 0.5}
    ]
    assert to_coco_results(Detections.empty(), 7, (3, 90)) == []


@pytest.mark.parametrize('label', [2, -1])
def test_labels_without_category_are_refused(label):
    detections = Detections(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.array([label]))
    with pytest.raises(
        ValueError, match=f'a detection has label {label}, but the annotations have 2 categories'
    ):
        to_coco_results(detections, 7, (3, 90))

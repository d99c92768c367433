"""AP and recall per class agree with scoring each class alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from anydepth_core.evaluation.coco_metric import coco_statistics
from anydepth_core.evaluation.size_and_class import breakdown, format_by_class, format_by_size


@pytest.fixture
def scored() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(0)
    categories = [{'id': 7, 'name': 'nut'}, {'id': 2, 'name': 'bolt'}, {'id': 4, 'name': 'none'}]
    annotations, detections = [], []
    for number in range(40):
        box = [*rng.uniform(0, 200, 2), *rng.uniform(10, 150, 2)]
        category = (7, 2)[number % 2]
        annotations.append(
            {'id': number, 'image_id': number % 8, 'category_id': category, 'bbox': box}
        )
        if rng.random() < 0.8:
            moved = [value + rng.normal(0, 4) for value in box]
            detections.append(
                {
                    'image_id': number % 8,
                    'category_id': category,
                    'bbox': moved,
                    'score': rng.random(),
                }
            )
    annotations.append({**annotations[0], 'id': 99, 'iscrowd': 1})
    images = [{'id': number} for number in range(8)]
    coco = {'images': images, 'annotations': annotations, 'categories': categories}
    return coco, detections


def test_a_class_is_scored_as_if_it_were_alone(scored: Any) -> None:
    coco, detections = scored
    figures = breakdown(coco, detections, range(8))
    for one, category in zip(figures.classes, coco['categories'], strict=True):
        alone = {
            **coco,
            'categories': [category],
            'annotations': [a for a in coco['annotations'] if a['category_id'] == category['id']],
        }
        own = [d for d in detections if d['category_id'] == category['id']]
        assert one.name == category['name']
        if one.name == 'none':
            assert one.objects == 0
            assert math.isnan(one.ap) and math.isnan(one.recall)
            continue
        expected = coco_statistics(alone, own)
        assert one.objects == 20
        assert (one.ap, one.recall) == pytest.approx((expected['AP'], expected['AR_100']))


def test_the_statistics_are_those_of_coco_on_the_chosen_images(scored: Any) -> None:
    coco, detections = scored
    figures = breakdown(coco, detections, [1, 2, 3])
    assert figures.statistics == pytest.approx(
        coco_statistics(coco, detections, [1, 2, 3]), nan_ok=True
    )
    assert sum(one.objects for one in figures.classes) == 15


def test_tables_have_a_line_per_level_and_per_class(scored: Any) -> None:
    coco, detections = scored
    figures = [breakdown(coco, detections, range(8)), breakdown(coco, [], range(8))]
    by_size = format_by_size(['base@32', 'full@64'], figures).splitlines()
    assert [line.split()[0] for line in by_size] == ['level', 'base@32', 'full@64']
    assert 'AP_medium' in by_size[0]
    by_class = format_by_class(['base@32', 'full@64'], figures).splitlines()
    assert [line.split()[0] for line in by_class] == ['class', 'nut', 'bolt', 'none']
    assert by_class[1].endswith('0.000 / 0.000')
    assert by_class[3].split()[1:] == ['0', '-', '/', '-', '-', '/', '-']

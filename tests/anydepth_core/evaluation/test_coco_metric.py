"""COCO statistics: equal to pycocotools and to stored figures."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import lzma
import math
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.evaluation.coco_metric import coco_statistics, STATISTICS

ROOT = Path(__file__).resolve().parents[3]
STORED = ROOT / 'tests' / 'data' / 'coco_val' / 'boxes.npz.xz'
SHARED = ROOT.parent / 'shared' / 'data'
needs_shared = pytest.mark.skipif(
    not (SHARED / 'oracle' / 'oracle.json').exists(),
    reason='the full detections (2.8 MB a model) are not part of the repository',
)


def pycocotools_statistics(coco_dict, detections, image_ids=None) -> dict[str, float]:
    """The twelve numbers of pycocotools under our names; its -1 becomes NaN."""
    coco = pytest.importorskip('pycocotools.coco', reason='pycocotools is the reference')
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = copy.deepcopy(coco_dict)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(detections)), 'bbox')
        if image_ids is not None:
            evaluation.params.imgIds = sorted(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {n: math.nan if v == -1 else float(v) for n, v in zip(STATISTICS, evaluation.stats)}


def assert_same(ours: dict[str, float], theirs: dict[str, float], tolerance: float = 1e-6) -> None:
    assert tuple(ours) == STATISTICS
    assert list(ours.values()) == pytest.approx(
        list(theirs.values()), abs=tolerance, rel=0, nan_ok=True
    )


@pytest.fixture(scope='module')
def stored() -> dict[str, np.ndarray]:
    with lzma.open(STORED) as file, np.load(io.BytesIO(file.read())) as members:
        return {name: members[name] for name in members.files}


@pytest.fixture(scope='module')
def stored_coco(stored) -> dict[str, Any]:
    ids = stored['image_id'].tolist()
    return {
        'images': [
            {'id': i, 'height': h, 'width': w}
            for i, (h, w) in zip(ids, stored['image_size'].tolist())
        ],
        'categories': [{'id': i, 'name': str(i)} for i in stored['category_id'].tolist()],
        'annotations': [
            {
                'id': n,
                'image_id': ids[i],
                'category_id': c,
                'bbox': b,
                'area': a,
                'iscrowd': int(crowd),
            }
            for n, (i, c, b, a, crowd) in enumerate(
                zip(
                    *(
                        stored[f'truth_{k}'].tolist()
                        for k in ('image', 'category', 'xywh', 'area', 'crowd')
                    )
                ),
                1,
            )
        ],
    }


@pytest.fixture(scope='module')
def stored_detections(stored) -> list[dict[str, Any]]:
    boxes = np.stack([stored[f'found_{side}'] for side in 'xywh'], axis=1) / 100
    scores = stored['found_score'] / 1e5
    return [
        {'image_id': i, 'category_id': c, 'bbox': b, 'score': s}
        for i, c, b, s in zip(
            stored['image_id'][stored['found_image']].tolist(),
            stored['found_category'].tolist(),
            boxes.tolist(),
            scores.tolist(),
        )
    ]


def test_stored_detections_give_the_stored_figures(stored, stored_coco, stored_detections):
    ours = coco_statistics(stored_coco, stored_detections)
    assert [round(value, 5) for value in ours.values()] == stored['statistics'].tolist()


def test_stored_detections_on_some_images_give_the_stored_figures(
    stored, stored_coco, stored_detections
):
    chosen = stored['image_id'][stored['official']].tolist()
    ours = coco_statistics(stored_coco, stored_detections, chosen)
    assert len(chosen) == 206
    assert [round(value, 5) for value in ours.values()] == stored['statistics_official'].tolist()


def test_stored_detections_score_as_in_pycocotools(stored_coco, stored_detections):
    ours = coco_statistics(stored_coco, stored_detections)
    assert_same(ours, pycocotools_statistics(stored_coco, stored_detections))


@needs_shared
@pytest.mark.parametrize('model', ['deimv2_atto', 'deimv2_femto'])
def test_full_detections_give_the_oracle_figures_and_those_of_pycocotools(model):
    oracle = json.loads((SHARED / 'oracle' / 'oracle.json').read_text())[model]
    coco = json.loads((SHARED / 'coco_val' / 'instances.json').read_text())
    detections = json.loads((SHARED / 'oracle' / f'coco_val_{model}_detections.json').read_text())
    official = [i['id'] for i in coco['images'] if 'official' in i['annotation_source']]
    assert (
        len(detections) == oracle['detections'] and len(official) == oracle['official_json_images']
    )
    for key, image_ids in (('stats', None), ('stats_official_json_images', official)):
        ours = coco_statistics(coco, detections, image_ids)
        assert [round(value, 5) for value in ours.values()] == oracle[key]
        assert_same(ours, pycocotools_statistics(coco, detections, image_ids))


@needs_shared
def test_stored_boxes_are_those_of_the_full_files(stored_coco, stored_detections):
    full = json.loads((SHARED / 'coco_val' / 'instances.json').read_text())
    kept = ('image_id', 'category_id', 'bbox', 'area', 'iscrowd')
    assert [[a[k] for k in kept] for a in stored_coco['annotations']] == [
        [a[k] for k in kept] for a in full['annotations']
    ]
    path = SHARED / 'oracle' / 'coco_val_deimv2_atto_detections.json'
    assert stored_detections == json.loads(path.read_text())


def scene(
    seed: int, images: int, objects: int, found: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Random boxes of every size and detections near them, tied scores and crowds included."""
    rng = np.random.default_rng(seed)
    annotations, detections = [], []
    for image in range(1, images + 1):
        truths = [random_box(rng) for _ in range(rng.integers(0, objects + 1))]
        for box in truths:
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image,
                    'category_id': int(rng.choice((2, 5, 9))),
                    'bbox': box,
                    'area': box[2] * box[3] * float(rng.choice((0.6, 1.0))),
                    'iscrowd': int(rng.random() < 0.1),
                }
            )
        for _ in range(rng.integers(0, found + 1)):
            near = truths and rng.random() < 0.7
            box = truths[rng.integers(len(truths))] if near else random_box(rng)
            moved = (np.array(box) * rng.uniform(0.85, 1.15, 4)).round(2).tolist()
            detections.append(
                {
                    'image_id': image,
                    'category_id': int(rng.choice((2, 5, 9))),
                    'bbox': moved,
                    'score': float(rng.integers(1, 50) / 50),
                }
            )
    names = [{'id': i, 'name': str(i)} for i in (2, 5, 9)]
    coco = {
        'images': [{'id': i} for i in range(1, images + 1)],
        'annotations': annotations,
        'categories': names,
    }
    return coco, detections


def random_box(rng: np.random.Generator) -> list[float]:
    width, height = np.exp(rng.uniform(1, 5.3, 2))
    left, top = rng.uniform(0, 300, 2)
    return np.round((left, top, width, height), 2).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 12), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_random_scenes_score_as_in_pycocotools(seed, images, objects, found):
    coco, detections = scene(seed, images, objects, found)
    if not detections:
        return  # pycocotools takes no empty list
    assert_same(coco_statistics(coco, detections), pycocotools_statistics(coco, detections))


def test_more_than_a_hundred_detections_an_image_score_as_in_pycocotools():
    coco, _ = scene(1, 2, 12, 1)
    _, detections = scene(2, 2, 12, 600)
    assert len(detections) > 250
    assert_same(coco_statistics(coco, detections), pycocotools_statistics(coco, detections))


def coco_of(*boxes: list[float], first_id: int = 1) -> dict[str, Any]:
    return {
        'images': [{'id': 1}, {'id': 2}],
        'annotations': [
            {'id': first_id + n, 'image_id': 1, 'category_id': 0, 'bbox': box}
            for n, box in enumerate(boxes)
        ],
        'categories': [{'id': 0, 'name': 'bolt'}],
    }


def detection(box: list[float], score: float = 0.9, **changes: int) -> dict[str, Any]:
    return {'image_id': 1, 'category_id': 0, 'bbox': box, 'score': score, **changes}


def test_one_found_object_is_perfect_and_sizes_without_objects_are_nan():
    ours = coco_statistics(coco_of([10, 10, 20, 20]), [detection([10, 10, 20, 20])])
    assert ours['AP'] == ours['AP50'] == ours['AP_small'] == ours['AR_1'] == pytest.approx(1)
    assert all(
        math.isnan(ours[name]) for name in ('AP_medium', 'AP_large', 'AR_medium', 'AR_large')
    )


def test_an_annotation_id_of_zero_counts_as_any_other():
    ours = coco_statistics(coco_of([10, 10, 20, 20], first_id=0), [detection([10, 10, 20, 20])])
    assert ours['AP'] == pytest.approx(1)


def test_no_detections_score_zero_and_no_objects_score_nan():
    box = [10, 10, 20, 20]
    assert coco_statistics(coco_of(box), [])['AP'] == 0
    assert all(
        math.isnan(value) for value in coco_statistics(coco_of(), [detection(box)]).values()
    )
    assert all(math.isnan(value) for value in coco_statistics(coco_of(), []).values())


def test_only_chosen_images_count():
    coco = coco_of([10, 10, 20, 20])
    wrong = detection([100, 100, 20, 20], score=0.99, image_id=2)
    right = detection([10, 10, 20, 20])
    assert coco_statistics(coco, [wrong, right])['AP'] < 0.6
    assert coco_statistics(coco, [wrong, right], [1])['AP'] == pytest.approx(1)


def test_what_is_given_stays_as_it_is():
    coco, detections = scene(5, 3, 4, 9)
    before = copy.deepcopy((coco, detections))
    coco_statistics(coco, detections)
    assert (coco, detections) == before


def test_nothing_is_printed(capfd):
    coco_statistics(coco_of([10, 10, 20, 20]), [detection([10, 10, 20, 20])])
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('wrong', [{'image_id': 77}, {'category_id': 77}])
def test_detections_of_unknown_images_or_categories_are_refused(wrong):
    with pytest.raises(
        ValueError, match=f'1 {next(iter(wrong))} values are not in the annotations: 77'
    ):
        coco_statistics(coco_of(), [detection([1, 1, 2, 2], **wrong)])

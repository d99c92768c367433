"""Opening an annotation file: what is read, what is repaired, what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anydepth_core.data.coco import CocoDataset


def edit(json_path: Path, **changes: Any) -> None:
    json_path.write_text(json.dumps({**json.loads(json_path.read_text()), **changes}))


def test_category_ids_with_gaps_become_labels_in_ascending_order(write_coco):
    dataset = CocoDataset(
        *write_coco(
            boxes=[(0, 90, 1, 2, 10, 12), (0, 3, 20, 5, 8, 9)],
            categories=((90, 'toothbrush'), (3, 'car'), (17, 'cat')),
        )
    )
    image, target = dataset.load(0)
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8
    assert dataset.class_names == ('car', 'cat', 'toothbrush')
    assert dataset.category_ids == (3, 17, 90)
    assert target.labels.tolist() == [2, 0] and target.labels.dtype == np.int64
    assert target.boxes_xyxy_px.tolist() == [[1, 2, 11, 14], [20, 5, 28, 14]]
    assert target.boxes_xyxy_px.dtype == np.float32


def test_image_without_objects_has_an_empty_target(write_coco):
    dataset = CocoDataset(*write_coco(sizes=((33, 47), (40, 60)), boxes=[(1, 0, 1, 1, 5, 5)]))
    target = dataset.target(0)
    assert target.boxes_xyxy_px.shape == (0, 4) and target.labels.shape == (0,)
    assert len(dataset.target(1).labels) == 1


def test_boxes_outside_the_image_are_clipped_or_dropped_and_counted(write_coco, caplog):
    paths = write_coco(
        boxes=[
            (0, 0, -5, -4, 20, 20),
            (0, 0, 50, 30, 100, 100),
            (0, 1, 61, 5, 10, 10),
            (0, 1, 5, 5, 0, 10),
            (0, 1, 8, 8, 4, 4),
        ]
    )
    with caplog.at_level(logging.WARNING):
        target = CocoDataset(*paths).target(0)
    assert target.boxes_xyxy_px.tolist() == [[0, 0, 15, 16], [50, 30, 60, 40], [8, 8, 12, 12]]
    assert target.labels.tolist() == [0, 0, 1]
    assert '2 boxes reach outside' in caplog.text and '2 boxes without area' in caplog.text


def test_negative_width_is_dropped_not_mirrored(write_coco):
    paths = write_coco()
    edit(
        paths[0],
        annotations=[{'id': 1, 'image_id': 10, 'category_id': 0, 'bbox': [30, 20, -10, -10]}],
    )
    assert len(CocoDataset(*paths).target(0).labels) == 0


def test_crowd_regions_are_no_targets_but_stay_in_the_annotations(write_coco):
    json_path, image_dir = write_coco(boxes=[(0, 0, 1, 1, 9, 9), (0, 0, 20, 1, 9, 9)])
    coco = json.loads(json_path.read_text())
    coco['annotations'][0]['iscrowd'] = 1
    json_path.write_text(json.dumps(coco))
    dataset = CocoDataset(json_path, image_dir)
    assert dataset.target(0).boxes_xyxy_px.tolist() == [[20, 1, 29, 10]]
    assert len(dataset.coco_dict['annotations']) == 2


def test_unknown_category_ids_are_refused_with_the_first_ids(write_coco):
    paths = write_coco(boxes=[(0, 0, 1, 1, 9, 9), (0, 7, 1, 1, 9, 9), (0, 31, 1, 1, 9, 9)])
    with pytest.raises(ValueError, match='2 annotations name a category id .*: 7, 31$'):
        CocoDataset(*paths)


def test_annotations_of_unknown_images_are_refused(write_coco):
    paths = write_coco(boxes=[(0, 0, 1, 1, 9, 9)])
    edit(paths[0], annotations=[{'id': 1, 'image_id': 99, 'category_id': 0, 'bbox': [1, 1, 5, 5]}])
    with pytest.raises(ValueError, match='1 annotations name an image id .*: 99$'):
        CocoDataset(*paths)


def test_missing_image_files_are_counted_and_the_first_are_named(write_coco):
    json_path, image_dir = write_coco(sizes=((8, 8),) * 9)
    for position in range(1, 8):
        (image_dir / f'{position}.png').unlink()
    with pytest.raises(
        ValueError, match=r'7 of 9 images are missing in .*: 1\.png, .*5\.png, \.\.\.$'
    ):
        CocoDataset(json_path, image_dir)


def test_missing_image_folder_is_named(write_coco, tmp_path):
    json_path, _ = write_coco()
    with pytest.raises(ValueError, match='image folder .*nowhere does not exist'):
        CocoDataset(json_path, tmp_path / 'nowhere')


def test_images_may_lie_in_sub_folders(write_coco):
    json_path, image_dir = write_coco()
    (image_dir / 'left').mkdir()
    (image_dir / '0.png').rename(image_dir / 'left' / '0.png')
    images = json.loads(json_path.read_text())['images']
    edit(json_path, images=[{**images[0], 'file_name': 'left/0.png'}])
    assert CocoDataset(json_path, image_dir).image(0).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('{"images": ', 'is no JSON file'),
        ('[]', 'is no COCO annotation file'),
        ('{"images": [], "annotations": []}', 'is no COCO annotation file'),
        ('{"images": [1], "annotations": [], "categories": []}', 'is no COCO annotation file'),
        ('{"images": [], "annotations": [], "categories": []}', 'lists no images'),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "needs an integer 'id'"),
        (
            '{"images": [{"id": 1, "file_name": "0.png", "height": 0, "width": 4}], '
            '"annotations": [], "categories": []}',
            "positive integer 'width' and 'height'",
        ),
    ],
)
def test_a_file_that_is_not_coco_is_refused_in_one_sentence(tmp_path, text, sentence):
    path = tmp_path / 'broken.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as error:
        CocoDataset(path, tmp_path)
    assert '\n' not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize('key', ['category_id', 'image_id'])
@pytest.mark.parametrize('value', [None, [1], '0'])
def test_an_id_that_is_no_number_is_refused(write_coco, key, value):
    paths = write_coco()
    annotation = {'id': 1, 'image_id': 10, 'category_id': 0, 'bbox': [1, 1, 5, 5], key: value}
    edit(paths[0], annotations=[annotation])
    with pytest.raises(ValueError, match='1 annotations name an? (category|image) id'):
        CocoDataset(*paths)


@pytest.mark.parametrize(
    'box', [None, [1, 2, 3], [1, 2, 'x', 4], [1, 2, float('nan'), 4], [1, 2, float('inf'), 4]]
)
def test_a_box_that_is_not_four_finite_numbers_is_refused(write_coco, box):
    paths = write_coco()
    edit(paths[0], annotations=[{'id': 1, 'image_id': 10, 'category_id': 0, 'bbox': box}])
    with pytest.raises(ValueError, match="needs a 'bbox' of four finite numbers"):
        CocoDataset(*paths)


def test_ids_listed_twice_are_refused(write_coco):
    with pytest.raises(ValueError, match='1 category ids more than once: 4'):
        CocoDataset(*write_coco(categories=((4, 'a'), (4, 'b'))))
    paths = write_coco()
    edit(paths[0], images=json.loads(paths[0].read_text())['images'] * 2)
    with pytest.raises(ValueError, match='1 image ids more than once: 10'):
        CocoDataset(*paths)


def test_an_unreadable_image_is_named_when_it_is_loaded(write_coco):
    json_path, image_dir = write_coco()
    (image_dir / '0.png').write_bytes(b'no picture')
    dataset = CocoDataset(json_path, image_dir)
    with pytest.raises(ValueError, match=r'0\.png is no readable image'):
        dataset.load(0)
    with pytest.raises(ValueError, match=r'0\.png is no readable image'):
        dataset.preload(progress=False)


def test_an_image_of_another_size_than_annotated_is_refused(write_coco):
    json_path, image_dir = write_coco(sizes=((40, 60),))
    cv2.imwrite(str(image_dir / '0.png'), np.zeros((41, 60, 3), np.uint8))
    with pytest.raises(ValueError, match='has 60x41 pixels, but its annotations say 60x40'):
        CocoDataset(json_path, image_dir).load(0)


def test_cached_images_equal_the_files_and_are_decoded_once(write_coco):
    json_path, image_dir = write_coco(sizes=((8, 9), (7, 5)))
    plain = [image.copy() for image in map(CocoDataset(json_path, image_dir).image, range(2))]
    dataset = CocoDataset(json_path, image_dir, cache=True)
    for position in range(2):
        (image_dir / f'{position}.png').unlink()
    for position in range(2):
        assert np.array_equal(dataset.image(position), plain[position])


def test_limit_uses_the_first_images_and_refuses_zero(write_coco):
    paths = write_coco(sizes=((8, 9),) * 4, boxes=[(3, 0, 1, 1, 3, 3), (1, 1, 1, 1, 3, 3)])
    dataset = CocoDataset(*paths, limit=2)
    assert dataset.image_ids == (10, 11) and len(dataset) == 2
    assert dataset.target(1).labels.tolist() == [1]
    with pytest.raises(ValueError, match='limit is 0'):
        CocoDataset(*paths, limit=0)


def test_grey_files_are_loaded_with_three_channels(write_coco):
    json_path, image_dir = write_coco(sizes=((6, 5),))
    cv2.imwrite(str(image_dir / '0.png'), np.full((6, 5), 77, np.uint8))
    assert (CocoDataset(json_path, image_dir).image(0) == np.full((6, 5, 3), 77)).all()

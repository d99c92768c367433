"""Reading a whole YOLO data set."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from anydepth_core.data.coco import CocoDataset
from anydepth_core.data.importers.annotations import common_folder, to_coco
from anydepth_core.data.importers.yolo import read_yolo
from anydepth_core.data.importers.yolo_source import open_yolo
from anydepth_core.files import write_atomically

pytest.importorskip('tqdm', reason='importing needs tqdm')


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three images of different sizes, one without labels, and a label file without image."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for name, size in (('a', (40, 80)), ('b', (33, 47)), ('c', (64, 64))):
        cv2.imwrite(str(tmp_path / 'images' / f'{name}.png'), np.zeros((*size, 3), np.uint8))
    (tmp_path / 'labels' / 'a.txt').write_text('1 0.5 0.5 0.5 0.5\n0 0.25 0.5 0.1 0.25 2\n')
    (tmp_path / 'labels' / 'c.txt').write_text('')
    (tmp_path / 'labels' / 'stray.txt').write_text('0 0.5 0.5 0.5 0.5')
    (tmp_path / 'classes.txt').write_text('nut\nbolt\n')
    return tmp_path


def test_images_boxes_and_what_is_missing_are_reported(source):
    imported = read_yolo(open_yolo(source))
    assert [(image.path.name, image.size) for image in imported.images] == [
        ('a.png', (40, 80)),
        ('b.png', (33, 47)),
        ('c.png', (64, 64)),
    ]
    assert [[(b.category, b.xyxy_px) for b in image.boxes] for image in imported.images] == [
        [(1, (20, 10, 60, 30))],
        [],
        [],
    ]
    (problem,) = imported.problems
    assert (problem.path.name, problem.line) == ('a.txt', 2)
    assert '1 images have no label file' in imported.notes[0] and 'b.png' in imported.notes[0]
    assert '1 label files have no image' in imported.notes[1] and 'stray' in imported.notes[1]


def test_an_unreadable_image_is_left_out(source):
    (source / 'images' / 'a.png').write_bytes(b'broken')
    imported = read_yolo(open_yolo(source))
    assert [image.path.name for image in imported.images] == ['b.png', 'c.png']
    assert [(p.path.name, p.text) for p in imported.problems] == [('a.png', 'no readable image')]


def test_labels_that_are_elsewhere_are_missed(source):
    (source / 'labels').rename(source / 'annotations')
    with pytest.raises(ValueError, match=r'none of 3 images has a label file.*a\.txt'):
        read_yolo(open_yolo(source))


def test_what_was_read_opens_as_a_data_set(source, tmp_path):
    imported = read_yolo(open_yolo(source))
    folder = common_folder(imported.images)
    assert folder == source / 'images'

    coco = to_coco(imported.images, imported.names, folder)
    write_atomically(tmp_path / 'out.json', json.dumps(coco).encode())
    dataset = CocoDataset(tmp_path / 'out.json', folder)
    assert dataset.class_names == ('nut', 'bolt') and len(dataset) == 3
    image, target = dataset.load(0)
    assert image.shape == (40, 80, 3) and target.labels.tolist() == [1]
    assert target.boxes_xyxy_px.tolist() == [[20, 10, 60, 30]]
    assert coco['annotations'][0]['area'] == 800

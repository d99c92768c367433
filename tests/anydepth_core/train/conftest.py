"""A tiny data set with a recipe for it."""

import json

import cv2
import numpy as np
import pytest

RECIPE = """
model: {name: anydepth_yolov12n}
data: {cache: false}
image_size: [64, 64]
epochs: 2
plain_epochs: 1
random_sizes: [32, 64]
batch_size: 4
workers: 0
optimizer: {name: adamw, rate: 1e-3, warmup_epochs: 0}
"""


def write_data(folder, recipe=RECIPE):
    """Write eight training and three validation images of a box, and a recipe."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('val', 3)):
        (folder / split).mkdir()
        images, annotations = [], []
        for i in range(count):
            picture = rng.integers(0, 255, (48, 60, 3), dtype=np.uint8)
            cv2.rectangle(picture, (10, 10), (40, 35), (0, 0, 255), -1)
            cv2.imwrite(str(folder / split / f'{i}.png'), picture)
            images.append({'id': i, 'file_name': f'{i}.png', 'width': 60, 'height': 48})
            if i != 1:
                annotations.append(
                    {
                        'id': i + 1,
                        'image_id': i,
                        'category_id': 7,
                        'bbox': [10, 10, 31, 26],
                        'area': 806,
                        'iscrowd': 0,
                    }
                )
        content = {
            'images': images,
            'annotations': annotations,
            'categories': [{'id': 7, 'name': 'box'}],
        }
        (folder / f'{split}.json').write_text(json.dumps(content))
    (folder / 'recipe.yaml').write_text(recipe)
    return folder


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path)

"""Fixtures for tests that need a small data set on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

WriteCoco = Callable[..., tuple[Path, Path]]


@pytest.fixture
def write_coco(tmp_path: Path) -> WriteCoco:
    """Return a function that writes images and annotations and returns (json_path, image_dir).

    Every image is grey noise; boxes are (image position, category id, left, top, width, height)
    and are painted white.
    """

    def write(
        sizes: Sequence[tuple[int, int]] = ((40, 60),),
        boxes: Sequence[tuple[int, int, float, float, float, float]] = (),
        categories: Sequence[tuple[int, str]] = ((0, 'bolt'), (1, 'nut')),
        **changes: Any,
    ) -> tuple[Path, Path]:
        image_dir = tmp_path / 'images'
        image_dir.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        pictures = [rng.integers(60, 140, (*size, 3), dtype=np.uint8) for size in sizes]
        for position, _, left, top, width, height in boxes:
            x0, y0 = round(max(left, 0)), round(max(top, 0))
            pictures[position][y0 : round(top + height), x0 : round(left + width)] = 255
        for position, picture in enumerate(pictures):
            cv2.imwrite(str(image_dir / f'{position}.png'), picture)
        coco = {
            'images': [
                {'id': 10 + n, 'file_name': f'{n}.png', 'height': size[0], 'width': size[1]}
                for n, size in enumerate(sizes)
            ],
            'annotations': [
                {
                    'id': n,
                    'image_id': 10 + box[0],
                    'category_id': box[1],
                    'bbox': list(box[2:]),
                    'area': box[4] * box[5],
                    'iscrowd': 0,
                }
                for n, box in enumerate(boxes)
            ],
            'categories': [{'id': number, 'name': name} for number, name in categories],
        }
        coco.update(changes)
        json_path = tmp_path / 'instances.json'
        json_path.write_text(json.dumps(coco))
        return json_path, image_dir

    return write

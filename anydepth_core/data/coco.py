"""Images with boxes from an annotation file in COCO format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anydepth_core.structures import Target

logger = logging.getLogger(__name__)

_SHOWN = 5


class CocoDataset:
    """Images and ground truth of one annotation file, checked when it is opened.

    Category ids may have gaps: label ``i`` is the ``i``-th smallest category id. Boxes are
    clipped to their image; boxes without area (before or after clipping) and crowd regions are no
    targets. ``coco_dict`` keeps the file as it is, which is what COCO evaluation scores against.

    Attributes:
        json_path: the annotation file.
        image_dir: the folder that ``file_name`` is relative to.
        coco_dict: the parsed annotation file.
        class_names: category names in label order.
        category_ids: category id of each label.
        image_ids: id of each image, in file order.
        image_sizes: (height, width) of each image as the annotation file states it.
    """

    def __init__(
        self,
        json_path: str | Path,
        image_dir: str | Path,
        *,
        cache: bool = False,
        limit: int | None = None,
    ) -> None:
        """Read the annotation file, check it, and look for the image files.

        Args:
            json_path: annotation file in COCO format.
            image_dir: folder of the images.
            cache: decode every image now and keep it (uint8) in memory.
            limit: use only the first images of the file.

        Raises:
            ValueError: if the file is not COCO, or contradicts itself, or images are missing.
            OSError: if the file cannot be read.
        """
        self.json_path = Path(json_path)
        self.image_dir = Path(image_dir)
        self.coco_dict = _read_coco(self.json_path)
        images = self.coco_dict['images']
        if limit is not None:
            if limit < 1:
                raise ValueError(f'the image limit is {limit}: give 1 or more')
            images = images[:limit]
        self.category_ids, self.class_names = _categories(
            self.coco_dict['categories'], self.json_path
        )
        self.image_ids: tuple[int, ...] = tuple(image['id'] for image in images)
        self.image_sizes: tuple[tuple[int, int], ...] = tuple(
            (image['height'], image['width']) for image in images
        )
        self._files = tuple(image['file_name'] for image in images)
        _check_files(self._files, self.image_dir)
        self._targets = self._read_targets()
        self._cache: list[np.ndarray] | None = None
        if cache:
            self.preload()

    def __len__(self) -> int:
        return len(self.image_ids)

    def path(self, index: int) -> Path:
        """Return the image file of an index."""
        return self.image_dir / self._files[index]

    def load(self, index: int) -> tuple[np.ndarray, Target]:
        """Return an image (H, W, 3) uint8 BGR, which must not be written to, and its ground truth.

        Raises:
            ValueError: if the file is no readable image, or not of the size its annotation states.
        """
        return self.image(index), self._targets[index]

    def image(self, index: int) -> np.ndarray:
        """Return an image (H, W, 3) uint8 BGR; see :meth:`load`."""
        if self._cache is not None:
            return self._cache[index]
        return _read_image(self.path(index), self.image_sizes[index])

    def target(self, index: int) -> Target:
        """Return the ground truth of an image, in pixels of that image."""
        return self._targets[index]

    def preload(self, progress: bool | None = None) -> None:
        """Decode every image once and keep it; processes forked later share the memory.

        Args:
            progress: show a progress bar; None shows it on a terminal only.

        Raises:
            ValueError: if a file is no readable image, or not of the size its annotation states.
        """
        indices: Iterable[int] = range(len(self))
        if progress is not False:
            from tqdm import tqdm

            disable = None if progress is None else False
            indices = tqdm(
                indices, desc='caching images', unit='image', leave=False, disable=disable
            )
        self._cache = [_read_image(self.path(i), self.image_sizes[i]) for i in indices]

    def _read_targets(self) -> list[Target]:
        boxes: dict[int, list[list[float]]] = {image_id: [] for image_id in self.image_ids}
        labels: dict[int, list[int]] = {image_id: [] for image_id in self.image_ids}
        label_of = {category_id: label for label, category_id in enumerate(self.category_ids)}
        for annotation in self.coco_dict['annotations']:
            image_id = annotation['image_id']
            if annotation.get('iscrowd', 0) or image_id not in boxes:
                continue
            boxes[image_id].append(annotation['bbox'])
            labels[image_id].append(label_of[annotation['category_id']])
        clipped = dropped = 0
        targets = []
        for image_id, size in zip(self.image_ids, self.image_sizes):
            target, cut, gone = _to_target(boxes[image_id], labels[image_id], size)
            targets.append(target)
            clipped, dropped = clipped + cut, dropped + gone
        if clipped or dropped:
            logger.warning(
                '%s: %d boxes reach outside their image and were clipped, %d boxes without area '
                'in their image were dropped',
                self.json_path,
                clipped,
                dropped,
            )
        return targets


def _to_target(
    boxes_xywh_px: list[list[float]], labels: list[int], size: tuple[int, int]
) -> tuple[Target, int, int]:
    """Clip boxes to a (height, width); return the target, how many were clipped, how many dropped.

    Annotations rounded to whole pixels are no error: less than a pixel outside is not counted.
    """
    xywh = np.asarray(boxes_xywh_px, np.float64).reshape(-1, 4)
    given = np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)
    limit = np.array((size[1], size[0], size[1], size[0]), np.float64)
    boxes = np.clip(given, 0, limit)
    kept = ((boxes[:, 2:] > boxes[:, :2]).all(axis=1)) & ((xywh[:, 2:] > 0).all(axis=1))
    outside = (np.abs(boxes - given) > 1.0).any(axis=1) & kept
    target = Target(boxes[kept].astype(np.float32), np.asarray(labels, np.int64)[kept])
    return target, int(outside.sum()), int((~kept).sum())


def _read_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8 BGR, in the orientation that has the stated size.

    Annotations are made on the stored pixels or on the pixels turned as the camera noted.
    """
    image = None
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        image = cv2.imread(str(path), flags)
        if image is None:
            raise ValueError(
                f'{path} is no readable image: replace the file or remove it from the annotations'
            )
        if image.shape[:2] == size:
            return image
    assert image is not None
    raise ValueError(
        f'{path} has {image.shape[1]}x{image.shape[0]} pixels, but its annotations say '
        f'{size[1]}x{size[0]}: the boxes would not fit'
    )


def _read_coco(path: Path) -> dict[str, Any]:
    try:
        coco = json.loads(path.read_text(encoding='utf-8'))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is no JSON file: {error}') from None
    lists = ('images', 'annotations', 'categories')
    if not isinstance(coco, dict) or not all(_is_list_of_dicts(coco.get(name)) for name in lists):
        raise ValueError(
            f'{path} is no COCO annotation file: it must be an object with the lists '
            "'images', 'annotations' and 'categories'"
        )
    _check_images(coco['images'], path)
    _categories(coco['categories'], path)
    _check_annotations(coco, path)
    return coco


def _is_list_of_dicts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _check_images(images: list[dict[str, Any]], path: Path) -> None:
    if not images:
        raise ValueError(f'{path} lists no images')
    for image in images:
        size = (image.get('height'), image.get('width'))
        named = isinstance(image.get('id'), int) and isinstance(image.get('file_name'), str)
        if not named or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(
                f"{path}: image {_short(image)} needs an integer 'id', a 'file_name' and "
                "a positive integer 'width' and 'height'"
            )
    _check_unique([image['id'] for image in images], 'image', path)


def _check_annotations(coco: dict[str, Any], path: Path) -> None:
    for annotation in coco['annotations']:
        if not _is_box(annotation.get('bbox')):
            raise ValueError(
                f"{path}: annotation {_short(annotation)} needs a 'bbox' of four finite "
                'numbers: left, top, width, height'
            )
    for key, name, known in (
        ('category_id', 'a category', {category['id'] for category in coco['categories']}),
        ('image_id', 'an image', {image['id'] for image in coco['images']}),
    ):
        unknown = [
            a
            for a in coco['annotations']
            if not isinstance(a.get(key), int) or a[key] not in known
        ]
        if unknown:
            ids = list(dict.fromkeys(str(a.get(key)) for a in unknown))
            raise ValueError(
                f'{path}: {len(unknown)} annotations name {name} id that the file does not '
                f'list: {_first(ids)}'
            )


def _is_box(box: object) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in box)


def _categories(
    categories: list[dict[str, Any]], path: Path
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return category ids in ascending order and their names."""
    for category in categories:
        if not isinstance(category.get('id'), int) or not isinstance(category.get('name'), str):
            raise ValueError(
                f"{path}: category {_short(category)} needs an integer 'id' and a 'name'"
            )
    if not categories:
        raise ValueError(f'{path} lists no categories')
    _check_unique([category['id'] for category in categories], 'category', path)
    ordered = sorted(categories, key=lambda category: category['id'])
    return tuple(c['id'] for c in ordered), tuple(c['name'] for c in ordered)


def _check_unique(ids: list[int], name: str, path: Path) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: set[int] = set()
    twice = [str(i) for i in ids if i in seen or seen.add(i)]  # type: ignore[func-returns-value]
    raise ValueError(f'{path} lists {len(twice)} {name} ids more than once: {_first(twice)}')


def _check_files(file_names: Sequence[str], image_dir: Path) -> None:
    """Look for the image files with one directory listing per folder."""
    if not image_dir.is_dir():
        raise ValueError(f'image folder {image_dir} does not exist: check the path')
    listings: dict[str, set[str]] = {}
    missing = []
    for name in file_names:
        folder, base = os.path.split(name)
        if folder not in listings:
            where = image_dir / folder
            listings[folder] = set(os.listdir(where)) if where.is_dir() else set()
        if base not in listings[folder]:
            missing.append(name)
    if missing:
        raise ValueError(
            f'{len(missing)} of {len(file_names)} images are missing in {image_dir}: '
            f'{_first(missing)}'
        )


def _first(items: Sequence[str]) -> str:
    return ', '.join(items[:_SHOWN]) + (', ...' if len(items) > _SHOWN else '')


def _short(item: object) -> str:
    text = repr(item)
    return text if len(text) <= 120 else f'{text[:117]}...'

"""What importers return, and its form as a COCO annotation file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
import math
import os
from pathlib import Path
from typing import Any

from anydepth_core.text_table import aligned

Corners = tuple[float, float, float, float]


class Refused(ValueError):
    """A label that cannot be used; the message says why."""


@dataclass(frozen=True)
class Problem:
    """Something that was left out, and where it stands.

    Attributes:
        path: the file.
        line: line in it, counted from 1; None where the whole file is meant.
        text: what is wrong.
    """

    path: Path
    line: int | None
    text: str

    def __str__(self) -> str:
        where = f'{self.path}' if self.line is None else f'{self.path}:{self.line}'
        return f'{where}: {self.text}'


@dataclass(frozen=True)
class LabelledBox:
    """One object.

    Attributes:
        category: key of ``Imported.names``.
        xyxy_px: left, top, right, bottom in pixels of the image.
        crowd: evaluation neither rewards nor punishes detections here, training passes over it.
    """

    category: int
    xyxy_px: Corners
    crowd: bool = False


@dataclass(frozen=True)
class LabelledImage:
    """One image with its objects.

    Attributes:
        path: the image file.
        size: (height, width) in pixels.
        boxes: the objects.
    """

    path: Path
    size: tuple[int, int]
    boxes: tuple[LabelledBox, ...]


@dataclass
class Imported:
    """The result of an import.

    Attributes:
        names: class name of each category.
        images: images that can be used.
        problems: what was left out.
        notes: what else the user should know, in sentences.
    """

    names: dict[int, str]
    images: list[LabelledImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def number(text: str) -> float:
    """Read a finite number.

    Raises:
        Refused: if the text is something else.
    """
    try:
        value = float(text)
    except ValueError:
        raise Refused(f'{shortened(text)} is no number') from None
    if not math.isfinite(value):
        raise Refused(f'{shortened(text)} is no finite number')
    return value


def clipped(corners_px: Corners, size: tuple[int, int]) -> Corners:
    """Clip a box to an image of (height, width).

    Raises:
        Refused: if nothing is left of the box.
    """
    height, width = size
    left, right = (min(max(x, 0.0), float(width)) for x in corners_px[::2])
    top, bottom = (min(max(y, 0.0), float(height)) for y in corners_px[1::2])
    if right <= left or bottom <= top:
        raise Refused(f'the box has no area in the image of {width}x{height} pixels')
    return left, top, right, bottom


def shortened(text: str, limit: int = 40) -> str:
    """Quote a text of a file, the end left out where it is long."""
    return repr(text if len(text) <= limit else f'{text[: limit - 3]}...')


def common_folder(images: Iterable[LabelledImage]) -> Path:
    """Return the innermost folder that holds all images."""
    return Path(os.path.commonpath([image.path.absolute().parent for image in images]))


def to_coco(
    images: Sequence[LabelledImage], names: dict[int, str], image_dir: Path
) -> dict[str, Any]:
    """Return the content of a COCO annotation file.

    Args:
        images: the images.
        names: class name of each category id.
        image_dir: folder that the file names start from.
    """
    boxes = [(number, box) for number, image in enumerate(images, 1) for box in image.boxes]
    return {
        'images': [
            {
                'id': number,
                'file_name': Path(os.path.relpath(image.path, image_dir)).as_posix(),
                'height': image.size[0],
                'width': image.size[1],
            }
            for number, image in enumerate(images, 1)
        ],
        'annotations': [
            {'id': number, 'image_id': image_id, **_annotation(box)}
            for number, (image_id, box) in enumerate(boxes, 1)
        ],
        'categories': [{'id': category, 'name': name} for category, name in names.items()],
    }


def _annotation(box: LabelledBox) -> dict[str, Any]:
    left, top, right, bottom = box.xyxy_px
    # 1/10000 pixel: files stay small, and no box is off by what could be seen
    width, height = round(right - left, 4), round(bottom - top, 4)
    return {
        'category_id': box.category,
        'bbox': [round(left, 4), round(top, 4), width, height],
        'area': round(width * height, 4),
        'iscrowd': int(box.crowd),
    }


def class_table(images: Sequence[LabelledImage], names: dict[int, str]) -> str:
    """Return a table of how many boxes each class has, and in how many images."""
    boxes = Counter(box.category for image in images for box in image.boxes)
    seen = Counter(c for image in images for c in {box.category for box in image.boxes})
    rows = [(name, str(boxes[key]), str(seen[key])) for key, name in names.items()]
    return aligned([('class', 'boxes', 'images'), *rows], left=1)

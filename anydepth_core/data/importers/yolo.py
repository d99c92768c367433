"""YOLO text labels: one file per image, a line per object, coordinates relative to the image."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from anydepth_core.data.importers.annotations import (
    clipped,
    Corners,
    Imported,
    LabelledBox,
    LabelledImage,
    number,
    Problem,
    Refused,
    shortened,
)
from anydepth_core.data.importers.image_files import read_sizes
from anydepth_core.data.importers.yolo_source import YoloSource

_BOX = 4
_LEAST_POLYGON = 6
_SLACK = 1e-3  # rounding of those who wrote the file


def read_yolo(source: YoloSource) -> Imported:
    """Read all images and labels of a source.

    An image without label file, or with an empty one, has no objects.

    Raises:
        ValueError: if no image has a label file, so that the labels must be elsewhere.
    """
    imported = Imported(dict(source.names))
    labels = {path: source.label_file(path) for path in source.images}
    if not any(file.is_file() for file in labels.values()):
        first = next(iter(labels.values()))
        raise ValueError(
            f'none of {len(labels)} images has a label file, the first was looked for at {first}: '
            'put the labels there, or give the folder that holds images/ and labels/'
        )
    for path, size in zip(labels, read_sizes(list(labels))):
        if size is None:
            imported.problems.append(Problem(path, None, 'no readable image'))
            continue
        boxes, problems = read_labels(labels[path], size, source.names, source.keypoints)
        imported.images.append(LabelledImage(path, size, boxes))
        imported.problems += problems
    imported.notes += _notes(labels)
    return imported


def read_labels(
    path: Path, size: tuple[int, int], classes: Collection[int], keypoints: bool = False
) -> tuple[tuple[LabelledBox, ...], list[Problem]]:
    """Read one label file.

    Args:
        path: the file; if there is none, there are no objects.
        size: (height, width) of the image.
        classes: legal class numbers.
        keypoints: the numbers after the box are keypoints, no polygon.

    Returns:
        The objects, and what was refused.
    """
    boxes: dict[LabelledBox, int] = {}
    problems: list[Problem] = []
    content = path.read_bytes() if path.is_file() else b''
    # not splitlines(): it also splits at characters that no editor counts as lines
    lines = content.decode('utf-8-sig', errors='replace').split('\n')
    for position, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            category, relative = parse_label(line, classes, keypoints)
            box = LabelledBox(category, clipped(in_pixels(relative, size), size))
            if box in boxes:
                raise Refused(f'repeats line {boxes[box]}')
            boxes[box] = position
        except Refused as error:
            problems.append(Problem(path, position, str(error)))
    return tuple(boxes), problems


def parse_label(
    line: str, classes: Collection[int], keypoints: bool = False
) -> tuple[int, Corners]:
    """Read one line: ``class x_centre y_centre width height``, or ``class x1 y1 x2 y2 x3 y3 ...``.

    Of a polygon, also the four corners of a turned box, the bounding box is taken.

    Args:
        line: the text.
        classes: legal class numbers.
        keypoints: the numbers after the box are keypoints, no polygon.

    Returns:
        The class number and left, top, right, bottom relative to the image.

    Raises:
        Refused: if the line has another form, or a number is out of range.
    """
    first, *rest = line.split() or ['']
    category = _category(first, classes)
    values = [number(text) for text in (rest[:_BOX] if keypoints else rest)]
    polygon = len(values) >= _LEAST_POLYGON and len(values) % 2 == 0
    if len(values) != _BOX and not polygon:
        raise Refused(
            f'{len(values)} numbers after the class: a box has 4, a polygon has x and y of at '
            'least 3 points'
        )
    for value, text in zip(values, rest):
        if not -_SLACK <= value <= 1 + _SLACK:
            raise Refused(f'{text} is not from 0 to 1: coordinates are relative to the image')
    if polygon:
        return category, (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
    x, y, width, height = values
    return category, (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def in_pixels(relative: Corners, size: tuple[int, int]) -> Corners:
    """Turn left, top, right, bottom relative to an image of (height, width) into pixels."""
    height, width = size
    left, top, right, bottom = relative
    return left * width, top * height, right * width, bottom * height


def _category(text: str, classes: Collection[int]) -> int:
    value = number(text)
    if value != int(value):
        raise Refused(f'class {shortened(text)} is no whole number')
    if int(value) not in classes:
        raise Refused(f'class {int(value)} has no name: classes go from 0 to {max(classes)}')
    return int(value)


def _notes(labels: dict[Path, Path]) -> list[str]:
    """Say what is missing on either side, because that is what goes wrong most often."""
    notes = []
    without = [image.name for image, file in labels.items() if not file.is_file()]
    if without:
        notes.append(
            f'{len(without)} images have no label file and count as images without objects, '
            f'for example {without[0]}'
        )
    known = set(labels.values())
    stray = sorted(
        file
        for folder in {file.parent for file in known}
        for file in folder.glob('*.txt')
        if file not in known and file.with_suffix('').name != 'classes'
    )
    if stray:
        notes.append(f'{len(stray)} label files have no image, for example {stray[0]}')
    return notes

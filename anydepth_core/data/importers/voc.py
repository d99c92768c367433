"""Pascal VOC annotations: one XML file per image, boxes in pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import os
from pathlib import Path
from xml.etree.ElementTree import Element

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
from anydepth_core.data.importers.image_files import images_below, read_sizes, stored_size
from anydepth_core.data.importers.xml_tree import XmlTree

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass(frozen=True)
class VocOptions:
    """How the files are read.

    Attributes:
        first_pixel: number of the first row and column. With 0 ``xmax`` and ``ymax`` are where
            the object ends (what today's tools write), with 1 they count the last pixel of it
            (the original data set).
        skip_difficult: objects marked as difficult are neither learnt nor asked for.
    """

    first_pixel: int = 0
    skip_difficult: bool = False


@dataclass(frozen=True)
class VocObject:
    """One object as the file states it."""

    name: str
    xyxy_px: Corners
    difficult: bool
    line: int


@dataclass(frozen=True)
class VocFile:
    """One annotation file.

    Attributes:
        size: (height, width) as the file states it; None where it does not.
        file_name: image name as the file states it.
        objects: the objects.
        problems: objects that were refused.
    """

    size: tuple[int, int] | None
    file_name: str
    objects: tuple[VocObject, ...]
    problems: tuple[Problem, ...]


def read_voc(
    source: Path,
    split: str | None = None,
    names: dict[int, str] | None = None,
    options: VocOptions | None = None,
) -> Imported:
    """Read the annotations of a folder.

    Args:
        source: folder with XML files and images, at any depth; ``ImageSets`` lists its splits.
        split: read only the images that ``ImageSets/.../SPLIT.txt`` lists.
        names: class names; None takes those in all files of the folder, in alphabetical order, so
            that every split has the same classes.
        options: how the files are read.

    Raises:
        ValueError: if there are no annotations, or no such split.
    """
    options = options or VocOptions()
    files, problems = _parse_all(_annotations_below(source), source, options)
    if names is None:
        found = sorted({item.name for file in files.values() for item in file.objects})
        names = dict(enumerate(found))
    imported = Imported(names, problems=problems)
    wanted = None if split is None else _listed(source, split)
    pictures = _Pictures(images_below(source), {path.stem for path in files})
    paths: dict[Path, Path] = {}
    for path, file in files.items():
        if wanted is not None and path.stem not in wanted:
            continue
        picture = pictures.of(path, file.file_name)
        if picture is None:
            problems.append(Problem(path, None, f'no image {path.stem} in {source}'))
        else:
            paths[path] = picture
    numbers = {name: category for category, name in names.items()}
    for (path, picture), size in zip(paths.items(), read_sizes(list(paths.values()))):
        _add(imported, path, picture, size, files[path], numbers, options)
    return imported


def parse_voc(content: bytes, path: Path, first_pixel: int = 0) -> VocFile:
    """Read one annotation file.

    Args:
        content: what is in it.
        path: where it comes from, for the problems.
        first_pixel: see :class:`VocOptions`.

    Raises:
        Refused: if it is no annotation at all.
    """
    tree = XmlTree(content)
    if tree.root.tag != 'annotation':
        raise Refused(f'the outermost element is {shortened(tree.root.tag)}, not annotation')
    objects, problems = [], []
    for element in tree.root.findall('object'):
        line = tree.line(element)
        try:
            objects.append(_object(element, line, first_pixel))
        except Refused as error:
            problems.append(Problem(path, line, str(error)))
    name = (tree.root.findtext('filename') or '').replace('\\', '/').rsplit('/', 1)[-1].strip()
    return VocFile(_size(tree.root.find('size')), name, tuple(objects), tuple(problems))


def _annotations_below(source: Path) -> list[Path]:
    files = (path for path in source.rglob('*.xml') if path.is_file())
    return sorted(path for path in files if not path.name.startswith('.'))


def _parse_all(
    paths: Iterable[Path], source: Path, options: VocOptions
) -> tuple[dict[Path, VocFile], list[Problem]]:
    files, problems = {}, []
    for path in paths:
        try:
            files[path] = parse_voc(path.read_bytes(), path, options.first_pixel)
        except Refused as error:
            problems.append(Problem(path, None, str(error)))
    if not files and not problems:
        raise ValueError(f'{source} has no annotation *.xml: give the folder that holds them')
    return files, problems


def _object(element: Element, line: int, first_pixel: int) -> VocObject:
    name = (element.findtext('name') or '').strip()
    if not name:
        raise Refused('the object has no name')
    box = element.find('bndbox')
    if box is None:
        raise Refused(f'{shortened(name)} has no bndbox')
    left, top, right, bottom = (_corner(box, tag) for tag in _CORNERS)
    if right < left or bottom < top:
        raise Refused(f'{shortened(name)} ends before it begins: {left}, {top}, {right}, {bottom}')
    corners = (left - first_pixel, top - first_pixel, right, bottom)
    difficult = (element.findtext('difficult') or '').strip().lower() in ('1', 'true')
    return VocObject(name, corners, difficult, line)


def _corner(box: Element, tag: str) -> float:
    text = box.findtext(tag)
    if text is None:
        raise Refused(f'bndbox has no {tag}')
    return number(text)


def _size(element: Element | None) -> tuple[int, int] | None:
    """Return (height, width), None where the file does not state them or states zeros."""
    if element is None:
        return None
    try:
        height, width = (int(number(element.findtext(tag) or '')) for tag in ('height', 'width'))
    except Refused:
        return None
    return (height, width) if height > 0 and width > 0 else None


def _add(
    imported: Imported,
    path: Path,
    picture: Path,
    size: tuple[int, int] | None,
    file: VocFile,
    numbers: dict[str, int],
    options: VocOptions,
) -> None:
    """Add one image, or say why it is left out."""
    imported.problems += file.problems
    if size is None:
        imported.problems.append(Problem(picture, None, 'no readable image'))
        return
    stated = file.size or size
    if stated not in (size, stored_size(picture)):
        imported.problems.append(
            Problem(
                path,
                None,
                f'it states {stated[1]}x{stated[0]} pixels, {picture.name} has '
                f'{size[1]}x{size[0]}: the boxes would not fit',
            )
        )
        return
    boxes = []
    for item in file.objects:
        try:
            if item.name not in numbers:
                raise Refused(f'class {shortened(item.name)} is not among the names given')
            corners = clipped(item.xyxy_px, stated)
        except Refused as error:
            imported.problems.append(Problem(path, item.line, str(error)))
            continue
        crowd = item.difficult and options.skip_difficult
        boxes.append(LabelledBox(numbers[item.name], corners, crowd))
    imported.images.append(LabelledImage(picture, stated, tuple(boxes)))


def _listed(source: Path, split: str) -> set[str]:
    """Return the image names of a split, of its main list where there are several."""
    lists = sorted(
        source.rglob(f'ImageSets/*/{split}.txt'), key=lambda path: path.parent.name != 'Main'
    )
    if not lists:
        raise ValueError(
            f'{source} has no ImageSets/Main/{split}.txt: choose another --split, or leave it out '
            'to read all annotations'
        )
    lines = lists[0].read_text(encoding='utf-8', errors='replace').splitlines()
    # lists of one class have a second column
    return {line.split()[0] for line in lines if line.strip()}


class _Pictures:
    """Image files by name.

    An image is named like its annotation; where there is none, as the annotation says, which is
    out of date where files were renamed, unless that image has an annotation of its own. Of
    several the one in the nearest folder is meant.
    """

    def __init__(self, paths: Iterable[Path], annotated: set[str]) -> None:
        self._annotated = annotated
        self._by_name: dict[str, list[Path]] = {}
        for path in paths:
            for name in {path.stem, path.name}:
                self._by_name.setdefault(name, []).append(path)

    def of(self, annotation: Path, file_name: str) -> Path | None:
        stated = [] if Path(file_name).stem in self._annotated else [file_name]
        for name in (annotation.stem, *stated):
            if found := self._by_name.get(name):
                return max(found, key=lambda path: len(os.path.commonpath([path, annotation])))
        return None

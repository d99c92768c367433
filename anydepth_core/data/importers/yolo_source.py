"""Where a YOLO data set keeps images, labels and class names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anydepth_core.config import load_yaml
from anydepth_core.data.importers.image_files import images_below

_YAML_NAMES = ('data.yaml', 'data.yml', 'dataset.yaml', 'dataset.yml')
_NAME_FILES = ('classes.txt', 'obj.names', 'labels/classes.txt')


@dataclass(frozen=True)
class YoloSource:
    """Files of one split.

    Attributes:
        images: the image files.
        names: class name of each class number.
        keypoints: label lines have keypoints after the box.
    """

    images: tuple[Path, ...]
    names: dict[int, str]
    keypoints: bool = False

    def label_file(self, image: Path) -> Path:
        """Return where the labels of an image are, or would be.

        That is under ``labels`` instead of the last ``images`` in its path where such a folder
        exists, otherwise beside the image.
        """
        parts = list(image.parts)
        for position in range(len(parts) - 2, -1, -1):
            if parts[position] == 'images':
                folder = Path(*parts[:position], 'labels')
                if folder.is_dir():
                    return folder.joinpath(*parts[position + 1 :]).with_suffix('.txt')
                break
        return image.with_suffix('.txt')


def open_yolo(
    source: Path, split: str | None = None, names_file: Path | None = None
) -> YoloSource:
    """Find the images and class names of a YOLO data set.

    Args:
        source: a folder, or the YAML file that describes the data set.
        split: ``train``, ``val``, ...: an entry of the YAML file, by default ``train``, or a
            folder ``images/SPLIT`` or ``SPLIT/images``.
        names_file: class names, one a line, instead of those found.

    Raises:
        ValueError: if images or names are not found; the message says where they were looked for.
    """
    description = _description_file(source)
    content: dict[str, Any] = {} if description is None else load_yaml(description)
    if names_file is not None:
        names = read_names(names_file)
    elif 'names' in content:
        names = _yaml_names(content['names'], description)
    else:
        names = _folder_names(source)
    if description is not None and _has_splits(content):
        images = _described_images(content, description, split or 'train')
    else:
        images = _folder_images(source if source.is_dir() else source.parent, split)
    return YoloSource(tuple(images), names, 'kpt_shape' in content)


def read_names(path: Path) -> dict[int, str]:
    """Read class names, one a line; the first is class 0.

    Raises:
        ValueError: if the file cannot be read, has no names, or one of them twice.
    """
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError:
        raise ValueError(f'{path} is no text in UTF-8: give a file with one name a line') from None
    return _checked([line.strip() for line in lines if line.strip()], path)


def _description_file(source: Path) -> Path | None:
    if source.is_file():
        return source
    if not source.is_dir():
        raise ValueError(f'{source} does not exist: give a folder or a data.yaml')
    return next((source / name for name in _YAML_NAMES if (source / name).is_file()), None)


def _yaml_names(value: Any, path: Path | None) -> dict[int, str]:
    """Read ``names`` of a YAML file, a list or a mapping from number to name."""
    items = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(items, dict) or not all(
        type(key) is int and key >= 0 and type(name) in (str, int, float)
        for key, name in items.items()
    ):
        raise ValueError(
            f'{path}: names must be a list of class names, or a mapping from class number to '
            'name; names such as yes, no, on and off need quotes'
        )
    numbers = sorted(items)
    return dict(zip(numbers, _checked([str(items[key]) for key in numbers], path).values()))


def _folder_names(source: Path) -> dict[int, str]:
    folder = source if source.is_dir() else source.parent
    for name in _NAME_FILES:
        if (folder / name).is_file():
            return read_names(folder / name)
    raise ValueError(
        f'{source} has no class names: give --names FILE with one a line, or put '
        f'{" or ".join((_YAML_NAMES[0], *_NAME_FILES[:2]))} there'
    )


def _checked(names: list[str], path: Path | None) -> dict[int, str]:
    if not names:
        raise ValueError(f'{path} has no class names: give at least one')
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{path} has the class name {twice} twice: names must differ')
    return dict(enumerate(names))


def _has_splits(content: dict[str, Any]) -> bool:
    return any(name in content for name in ('train', 'val', 'test'))


def _described_images(content: dict[str, Any], path: Path, split: str) -> list[Path]:
    """Return the images of an entry: folders, or text files that list images."""
    entries = content.get(split)
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        known = ', '.join(name for name in content if isinstance(content[name], (str, list)))
        raise ValueError(
            f'{path} has no folder of images under {split!r}: choose another --split of {known}'
        )
    images: list[Path] = []
    for entry in entries:
        found = _locate(entry, content.get('path'), path)
        images += images_below(found) if found.is_dir() else _listed(found)
    if not images:
        raise ValueError(f'{path}: no image under {split!r} ({", ".join(entries)})')
    return images


def _locate(entry: str, root: Any, path: Path) -> Path:
    """Return an entry's file or folder.

    ``path`` in the file is often that of another machine, and some exporters write ``../train``
    for a folder beside the file: the folder of the file is tried as well.
    """
    home = path.parent
    roots = [home / str(root), Path(str(root))] if root is not None else []
    tried = [*(base / entry for base in roots), home / entry, home / entry.lstrip('./')]
    for place in tried:
        if place.exists():
            return place
    places = ', '.join(dict.fromkeys(map(str, tried)))
    raise ValueError(f'{path} names {entry}, which does not exist; looked for: {places}')


def _listed(path: Path) -> list[Path]:
    """Return the images that a text file lists, relative to itself or absolute."""
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    images = [path.parent / line.strip() for line in lines if line.strip()]
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise ValueError(
            f'{path} lists {len(missing)} images that do not exist, for example {missing[0]}'
        )
    return images


def _folder_images(folder: Path, split: str | None) -> list[Path]:
    if split is None:
        tried = [folder / 'images', folder]
    else:
        tried = [folder / 'images' / split, folder / split / 'images', folder / split]
    for place in tried:
        if place.is_dir() and (images := images_below(place)):
            return images
    raise ValueError(f'no images found; looked in: {", ".join(map(str, tried))}')

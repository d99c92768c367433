"""Image files of a folder, and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
import os
from pathlib import Path

import cv2

from anydepth_core.data.pictures import SUFFIXES


def images_below(folder: Path) -> list[Path]:
    """Return the image files of a folder and all folders in it, in order of their names."""
    return sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith('.')
    )


def stored_size(path: Path) -> tuple[int, int] | None:
    """Return (height, width) of an image as it is stored, before it is turned upright."""
    return _size(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def read_sizes(paths: Sequence[Path]) -> list[tuple[int, int] | None]:
    """Decode every image and return its (height, width), None where it cannot be read.

    Sizes are those of the upright image, turned as the camera noted. Decoding costs more than
    reading a header, but finds the broken files before training does.
    """
    from tqdm import tqdm

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = pool.map(_size, paths)
        bar = tqdm(sizes, 'reading images', len(paths), unit='image', leave=False, disable=None)
        return list(bar)


def _size(path: Path, flags: int = cv2.IMREAD_COLOR) -> tuple[int, int] | None:
    image = cv2.imread(str(path), flags)
    return None if image is None else (image.shape[0], image.shape[1])

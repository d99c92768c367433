"""Some pictures of a folder or a video, spread over all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def read_pictures(source: Path, count: int) -> Iterator[np.ndarray]:
    """Read pictures that lie equally far apart.

    Args:
        source: a folder of images, or a video.
        count: how many at most.

    Yields:
        (H, W, 3) uint8 BGR; what cannot be read as a picture is left out.
    """
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
        pictures = (cv2.imread(str(path)) for path in files[:: max(1, len(files) // count)])
        yield from [picture for picture in pictures if picture is not None][:count]
        return
    video = cv2.VideoCapture(str(source))
    frames = max(1, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    wanted = set(list(range(0, frames, max(1, frames // count)))[:count])
    try:
        for index in range(frames):
            read, frame = video.read()
            if not read:
                return
            if index in wanted:
                yield frame
    finally:
        video.release()

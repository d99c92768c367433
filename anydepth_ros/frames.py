"""Frames of a video file, an image folder or a camera, one after the other; no ROS."""

from __future__ import annotations

from collections.abc import Iterator
import logging
from pathlib import Path

import cv2
import numpy as np

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = ('.bmp', '.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp')
FOLDER_FPS = 10.0


class FrameSource:
    """Reads frames from what a text names.

    Attributes:
        fps: frames per second of the recording or camera; ``FOLDER_FPS`` where nothing is
            recorded.
    """

    def __init__(self, source: str, loop: bool = False) -> None:
        """Open the source.

        Args:
            source: path of a video, path of a folder of images, or a camera number.
            loop: begin anew at the end; a camera has none.

        Raises:
            OSError: if it does not exist or cannot be read, in one sentence.
        """
        self.source = source
        self.fps = FOLDER_FPS
        self._loop = loop
        self._frames = self._open()

    def read(self) -> np.ndarray | None:
        """Return the next frame (H, W, 3) uint8 BGR, None at the end.

        Raises:
            OSError: if the source breaks off before its first frame, or a camera is gone.
        """
        frame = next(self._frames, None)
        if frame is None and self._loop and not self.source.isdecimal():
            self._frames = self._open()
            frame = next(self._frames, None)
        return frame

    def close(self) -> None:
        """Release the camera or file."""
        self._frames = iter(())

    def _open(self) -> Iterator[np.ndarray]:
        if self.source.isdecimal():
            return _video(self._capture(int(self.source)), self.source, camera=True)
        path = Path(self.source).expanduser()
        if not self.source or not path.exists():
            raise FileNotFoundError(
                f'source {self.source!r} does not exist: give a video file, a folder of images '
                'or a camera number'
            )
        if path.is_dir():
            return _folder(path)
        return _video(self._capture(str(path)), self.source, camera=False)

    def _capture(self, target: int | str) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(target)
        if not capture.isOpened():
            kind = 'camera' if isinstance(target, int) else 'video file'
            raise OSError(
                f'{kind} {str(target)!r} cannot be opened: check that it exists and is readable '
                'by OpenCV'
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0.1 < fps < 1000 else 30.0
        return capture


def _video(capture: cv2.VideoCapture, name: str, camera: bool) -> Iterator[np.ndarray]:
    count = 0
    try:
        while True:
            good, frame = capture.read()
            if not good:
                break
            count += 1
            yield frame
    finally:
        capture.release()
    if camera or count == 0:
        raise OSError(
            f'{"camera" if camera else "video file"} {name!r} gives no frame (after {count} '
            'frames)'
        )


def _folder(path: Path) -> Iterator[np.ndarray]:
    names = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    count = 0
    for name in names:
        frame = cv2.imread(str(name), cv2.IMREAD_COLOR)
        if frame is None:
            logger.warning('%s cannot be read as an image: skipped', name)
            continue
        count += 1
        yield frame
    if count == 0:
        raise OSError(
            f'folder {str(path)!r} holds no readable image ({", ".join(IMAGE_SUFFIXES)})'
        )

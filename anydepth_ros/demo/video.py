"""Writes the annotated video in its own thread, so that drawing holds up no message; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import queue
import threading

import cv2
import numpy as np

from anydepth_core.runtime.visualise import draw
from anydepth_core.structures import Detections

SHORT_SIDE = 600  # small frames are enlarged to about this, so that boxes and text stay readable

_Item = tuple[np.ndarray, Detections, str]


class AnnotatedVideo:
    """An mp4 of frames with their detections; the file appears when it is complete."""

    def __init__(self, path: Path, fps: float, class_names: Sequence[str]) -> None:
        """Start the thread.

        Args:
            path: the file to write.
            fps: frames per second of the file.
            class_names: name of each label.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._partial = path.with_name(f'.{path.name}.partial.mp4')
        self._fps = fps
        self._class_names = class_names
        self._queue: queue.Queue[_Item | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name='video', daemon=True)
        self._thread.start()

    def add(self, image_bgr: np.ndarray, detections: Detections, caption: str) -> None:
        """Append a frame."""
        self._queue.put((image_bgr, detections, caption))

    def close(self) -> None:
        """Finish the file."""
        self._queue.put(None)
        self._thread.join()
        if self._partial.exists():
            os.replace(self._partial, self._path)

    def _run(self) -> None:
        writer: cv2.VideoWriter | None = None
        size = (0, 0)
        while (item := self._queue.get()) is not None:
            frame = annotate(*item, self._class_names)
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(
                    str(self._partial), cv2.VideoWriter.fourcc(*'mp4v'), self._fps, size
                )
            writer.write(
                frame if (frame.shape[1], frame.shape[0]) == size else cv2.resize(frame, size)
            )
        if writer is not None:
            writer.release()


def annotate(
    image_bgr: np.ndarray, detections: Detections, caption: str, class_names: Sequence[str]
) -> np.ndarray:
    """Draw into an enlarged copy of a frame."""
    factor = max(1, round(SHORT_SIDE / min(image_bgr.shape[:2])))
    if factor > 1:
        image_bgr = cv2.resize(
            image_bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC
        )
        boxes = detections.boxes_xyxy_px * np.float32(factor)
        detections = Detections(boxes, detections.scores, detections.labels)
    return draw(image_bgr, detections, class_names, caption)

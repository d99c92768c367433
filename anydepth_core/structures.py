"""Values that travel between the parts of the package; numpy only: robots need no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """What was found in one image.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, left, top, right, bottom in pixels of the received image,
            clipped to it.
        scores: (N,) float32 in [0, 1], descending.
        labels: (N,) int64, index into the model's class names.
    """

    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def empty() -> Detections:
        """No detection at all."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        )


@dataclass(frozen=True)
class Target:
    """Ground truth of one training or evaluation image.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, left, top, right, bottom in pixels of the image it belongs
            to.
        labels: (N,) int64 class indices, 0-based and contiguous.
    """

    boxes_xyxy_px: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Timing:
    """Wall-clock milliseconds one frame spent in each step of the pipeline."""

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        """Sum of the three steps."""
        return self.preprocess_ms + self.inference_ms + self.postprocess_ms

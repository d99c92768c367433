"""Draw detections into an image."""

from __future__ import annotations

from collections.abc import Sequence
import colorsys

import cv2
import numpy as np

from anydepth_core.data.preprocess import check_image
from anydepth_core.structures import Detections

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GOLDEN_RATIO = 0.61803398875
_WHITE = (255, 255, 255)
_BLACK = (0, 0, 0)


def draw(
    image_bgr: np.ndarray, detections: Detections, class_names: Sequence[str], caption: str = ''
) -> np.ndarray:
    """Draw boxes, labels and a caption line; line width and text grow with the image.

    Args:
        image_bgr: (H, W, 3) uint8; it stays as it is.
        detections: boxes in pixels of the image.
        class_names: name of each label; a label without a name is shown as its number.
        caption: text over the top edge, none if empty.

    Returns:
        A new (H, W, 3) uint8 image.

    Raises:
        ValueError: if the image is not a non-empty (H, W, 3) uint8 array.
    """
    check_image(image_bgr)
    canvas = np.ascontiguousarray(image_bgr).copy()
    unit = min(canvas.shape[:2])
    width = max(1, round(unit / 300))
    scale = min(max(0.4, unit / 1000), 1.2)
    boxes = np.rint(detections.boxes_xyxy_px).astype(int).tolist()
    rows = list(zip(boxes, detections.labels.tolist(), detections.scores.tolist()))
    for box, label, _ in reversed(rows):  # the best is drawn last, over the others
        cv2.rectangle(canvas, box[:2], box[2:], _BLACK, width + 2)
        cv2.rectangle(canvas, box[:2], box[2:], colour(label), width)
    ceiling = _caption(canvas, caption, scale) if caption else 0
    for box, label, score in reversed(rows):
        name = class_names[label] if 0 <= label < len(class_names) else str(label)
        _label(canvas, f'{name} {score:.2f}', (box[0], box[1]), colour(label), scale, ceiling)
    return canvas


def colour(label: int) -> tuple[int, int, int]:
    """Colour (blue, green, red) of a label; neighbouring labels differ clearly."""
    hue = (label * _GOLDEN_RATIO) % 1.0
    value = (1.0, 0.75)[label // 16 % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(255 * blue), round(255 * green), round(255 * red)


def _label(
    canvas: np.ndarray,
    text: str,
    corner: tuple[int, int],
    back: tuple[int, int, int],
    scale: float,
    ceiling: int,
) -> None:
    """Write a label above the corner of its box, lower where image or caption are in the way."""
    thickness = max(1, round(1.5 * scale))
    (width, height), drop = cv2.getTextSize(text, _FONT, scale, thickness)
    tall = height + drop + 2
    left = max(0, min(corner[0], canvas.shape[1] - width - 4))
    top = max(ceiling, min(corner[1] - tall, canvas.shape[0] - tall))
    cv2.rectangle(canvas, (left, top), (left + width + 3, top + tall - 1), back, cv2.FILLED)
    luma = 0.114 * back[0] + 0.587 * back[1] + 0.299 * back[2]
    ink = _BLACK if luma > 110 else _WHITE
    cv2.putText(
        canvas, text, (left + 2, top + height + 1), _FONT, scale, ink, thickness, cv2.LINE_AA
    )


def _caption(canvas: np.ndarray, text: str, scale: float) -> int:
    """Write a line over the darkened top edge, smaller to fit; return the height of the band."""
    thickness = max(1, round(1.5 * scale))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    scale *= max(0.1, min(1.0, (canvas.shape[1] - 8) / max(width, 1)))
    (_, height), drop = cv2.getTextSize(text, _FONT, scale, thickness)
    band = canvas[: height + drop + 6]
    band[...] = band // 4
    cv2.putText(canvas, text, (4, height + 3), _FONT, scale, _WHITE, thickness, cv2.LINE_AA)
    return len(band)

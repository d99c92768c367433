"""Between ROS messages and arrays; no node, no publisher, no state."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)

from anydepth_core.structures import Detections

# encoding -> channels, and how OpenCV turns them into BGR (None: they are BGR already)
ENCODINGS: dict[str, tuple[int, int | None]] = {
    'bgr8': (3, None),
    'rgb8': (3, cv2.COLOR_RGB2BGR),
    'bgra8': (4, cv2.COLOR_BGRA2BGR),
    'rgba8': (4, cv2.COLOR_RGBA2BGR),
    'mono8': (1, cv2.COLOR_GRAY2BGR),
}


def image_to_bgr(message: Image) -> np.ndarray:
    """Read an image message.

    Args:
        message: an image in one of ``ENCODINGS``; padding at the end of its rows is skipped.

    Returns:
        (H, W, 3) uint8 BGR. For ``bgr8`` it shares the memory of the message: do not write into
        it.

    Raises:
        ValueError: if the encoding is not supported or sizes contradict each other, in one
            sentence.
    """
    if message.encoding not in ENCODINGS:
        raise ValueError(
            f'image encoding {message.encoding!r} is not supported: use one of '
            f'{", ".join(ENCODINGS)}'
        )
    channels, conversion = ENCODINGS[message.encoding]
    pixels = _pixels(message, channels)
    if conversion is None:
        return pixels
    return cv2.cvtColor(np.ascontiguousarray(pixels), conversion)


def _pixels(message: Image, channels: int) -> np.ndarray:
    """Return (H, W, C) uint8 without the row padding, sharing the memory of the message."""
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise ValueError(f'image is empty: height {height}, width {width}; both must be 1 or more')
    if step < width * channels:
        raise ValueError(
            f'image step {step} is too small: {width} pixels of {message.encoding} need '
            f'{width * channels} bytes a row'
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * height:
        raise ValueError(
            f'image data is truncated: {height} rows of {step} bytes need {step * height} bytes, '
            f'{data.size} were received'
        )
    rows = data[: step * height].reshape(height, step)
    return rows[:, : width * channels].reshape(height, width, channels)


def bgr_to_image(image_bgr: np.ndarray, header: Header) -> Image:
    """Make an image message.

    Args:
        image_bgr: (H, W, 3) uint8.
        header: stamp and frame of the image.
    """
    height, width = image_bgr.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding='bgr8', is_bigendian=0, step=3 * width
    )
    # An array of bytes is taken over as it is; assigning an ndarray would be checked byte by byte
    # (0.4 s for 1080p).
    message.data = array('B', np.ascontiguousarray(image_bgr).tobytes())
    return message


def detections_to_message(detections: Detections, header: Header) -> Detection2DArray:
    """Make the message that answers one image.

    Args:
        detections: boxes in pixels of the image.
        header: the header of the image; the array and every detection carry it.
    """
    rows = zip(
        detections.boxes_xyxy_px.tolist(),
        detections.scores.tolist(),
        detections.labels.tolist(),
        strict=True,
    )
    return Detection2DArray(
        header=header,
        detections=[_detection(box, score, label, header) for box, score, label in rows],
    )


def _detection(
    box_xyxy_px: Sequence[float], score: float, label: int, header: Header
) -> Detection2D:
    left, top, right, bottom = box_xyxy_px
    detection = Detection2D(header=header)
    detection.bbox.center.position.x = (left + right) / 2
    detection.bbox.center.position.y = (top + bottom) / 2
    detection.bbox.size_x = right - left
    detection.bbox.size_y = bottom - top
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = str(label)
    hypothesis.hypothesis.score = score
    detection.results = [hypothesis]
    return detection


def message_to_detections(message: Detection2DArray) -> Detections:
    """Read detections back; those without a hypothesis are skipped."""
    rows = [
        (d.bbox.center.position, d.bbox.size_x / 2, d.bbox.size_y / 2, d.results[0].hypothesis)
        for d in message.detections
        if d.results
    ]
    if not rows:
        return Detections.empty()
    boxes = [
        (c.x - half_x, c.y - half_y, c.x + half_x, c.y + half_y) for c, half_x, half_y, _ in rows
    ]
    return Detections(
        np.array(boxes, np.float32),
        np.array([hypothesis.score for *_, hypothesis in rows], np.float32),
        np.array([int(hypothesis.class_id) for *_, hypothesis in rows], np.int64),
    )


def label_info(class_names: Sequence[str], threshold: float, header: Header) -> LabelInfo:
    """Make the message that gives the class ids in detections their names."""
    classes = [
        VisionClass(class_id=index, class_name=name) for index, name in enumerate(class_names)
    ]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def stats_message(
    header: Header, hardware_id: str, values: dict[str, object], error: str = ''
) -> DiagnosticArray:
    """Make the message with the figures of one frame.

    A diagnostic array is used because it is standard everywhere, its header can carry the image's
    stamp, which joins it with ``detections``, and its keys can grow without a new message type.
    """
    status = DiagnosticStatus(
        level=DiagnosticStatus.ERROR if error else DiagnosticStatus.OK,
        name='detector: frame',
        message=error or 'ok',
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def stats_values(message: DiagnosticArray) -> dict[str, str]:
    """Read the figures of one frame back."""
    return {pair.key: pair.value for status in message.status for pair in status.values}


def stamp_ns(header: Header) -> int:
    """Return the stamp as nanoseconds: the key that joins image, detections and stats."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def _text(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)

"""Between ROS messages and what they mean; no node, no publisher, no state."""

from __future__ import annotations

from collections.abc import Sequence
import re

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)

from anydepth_core.structures import Detections


def detections_to_message(
    detections: Detections, header: Header, class_names: Sequence[str] | None = None
) -> Detection2DArray:
    """Make the message that answers one image.

    Args:
        detections: boxes in pixels of the image.
        header: the header of the image; the array and every detection carry it.
        class_names: the names of the model's classes, to say what was found by name; without them
            ``class_id`` is the decimal index.
    """
    labels = detections.labels.tolist()
    class_ids = [str(label) if class_names is None else class_names[label] for label in labels]
    rows = zip(
        detections.boxes_xyxy_px.tolist(), detections.scores.tolist(), class_ids, strict=True
    )
    return Detection2DArray(
        header=header,
        detections=[_detection(box, score, class_id, header) for box, score, class_id in rows],
    )


def _detection(
    box_xyxy_px: Sequence[float], score: float, class_id: str, header: Header
) -> Detection2D:
    left, top, right, bottom = box_xyxy_px
    detection = Detection2D(header=header)
    bbox = detection.bbox
    centre = bbox.center.position
    centre.x = (left + right) / 2
    centre.y = (top + bottom) / 2
    bbox.size_x = right - left
    bbox.size_y = bottom - top
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = class_id
    result.hypothesis.score = score
    detection.results.append(result)
    return detection


def message_to_detections(
    message: Detection2DArray, class_names: Sequence[str] | None = None
) -> Detections:
    """Read detections back; those without a hypothesis are skipped.

    Args:
        message: what ``detections_to_message`` made, or another node.
        class_names: the names in the order of the model's classes, where ``class_id`` is a name;
            without them it must be a decimal index.

    Raises:
        ValueError: if a ``class_id`` is neither, in one sentence.
    """
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
        np.array([_label(hypothesis.class_id, class_names) for *_, hypothesis in rows], np.int64),
    )


def _label(class_id: str, class_names: Sequence[str] | None) -> int:
    if class_names is not None:
        if class_id not in class_names:
            raise ValueError(
                f'class_id {class_id[:40]!r} of a detection is not a name of this model: it has '
                f'{", ".join(class_names)}'
            )
        return class_names.index(class_id)
    # Five digits: LabelInfo, which gives indices their names, has 16 bits for them.
    if not re.fullmatch('[0-9]{1,5}', class_id):
        raise ValueError(
            f'class_id {class_id[:40]!r} of a detection is not a decimal index: give the class '
            'names to read it as a name'
        )
    return int(class_id)


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

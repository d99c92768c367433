"""Between ROS messages and what they mean; no node, no publisher."""

from __future__ import annotations

from collections.abc import Sequence
import re

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    VisionClass,
)

from anydepth_core.structures import Detections


class DetectionsWriter:
    """Makes the messages that answer images.

    The parts of a message are used again for the next one: making them anew takes longer than
    everything else about a message. So a message is good until the next one is made, which is
    after it was published or serialised.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Detection2D, Point2D, BoundingBox2D, ObjectHypothesis]] = []

    def __call__(
        self, detections: Detections, header: Header, class_names: Sequence[str] | None = None
    ) -> Detection2DArray:
        """Make the message that answers one image.

        Args:
            detections: boxes in pixels of the image.
            header: the header of the image; the array and every detection carry it.
            class_names: the names of the model's classes, to say what was found by name; without
                them ``class_id`` is the decimal index.
        """
        while len(self._parts) < len(detections):
            self._parts.append(_new_parts())
        labels = detections.labels.tolist()
        class_ids = [str(label) if class_names is None else class_names[label] for label in labels]
        boxes, scores = detections.boxes_xyxy_px.tolist(), detections.scores.tolist()
        written = []
        for parts, box, score, class_id in zip(self._parts, boxes, scores, class_ids):
            message, centre, bbox, hypothesis = parts
            left, top, right, bottom = box
            message.header = header
            centre.x, centre.y = (left + right) / 2, (top + bottom) / 2
            bbox.size_x, bbox.size_y = right - left, bottom - top
            hypothesis.class_id, hypothesis.score = class_id, score
            written.append(message)
        return Detection2DArray(header=header, detections=written)


def _new_parts() -> tuple[Detection2D, Point2D, BoundingBox2D, ObjectHypothesis]:
    message, result = Detection2D(), ObjectHypothesisWithPose()
    message.results.append(result)
    return message, message.bbox.center.position, message.bbox, result.hypothesis


def detections_to_message(
    detections: Detections, header: Header, class_names: Sequence[str] | None = None
) -> Detection2DArray:
    """Make a message that stays as it is; see :class:`DetectionsWriter`."""
    return DetectionsWriter()(detections, header, class_names)


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

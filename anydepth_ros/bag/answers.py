"""From a recorded image message to the messages that answer it, as bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import time

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from anydepth_core.depth import OperatingPoint
from anydepth_core.errors import sentence
from anydepth_core.models.postprocess import PostprocessSettings
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_core.structures import Timing
from anydepth_ros.bag.reading import ImageTopic, RAW
from anydepth_ros.conversions import detections_to_message, label_info, stats_message
from anydepth_ros.images import message_to_bgr


@dataclass(frozen=True)
class Settings:
    """How every image is processed.

    Attributes:
        point: depth and input size.
        postprocess: what counts as a detection.
        class_id_format: ``index`` or ``name``.
    """

    point: OperatingPoint
    postprocess: PostprocessSettings
    class_id_format: str


@dataclass(frozen=True)
class Answer:
    """What is written for one image.

    Attributes:
        detections: serialised Detection2DArray; None if the image could not be processed.
        stats: serialised DiagnosticArray.
        found: number of detections.
        error: why it could not be processed; empty if it could.
    """

    detections: bytes | None
    stats: bytes
    found: int
    error: str


class Answerer:
    """Answers recorded images with the messages the node publishes for live ones.

    The keys of the stats that say how old an image is are left out: a recorded image has no age.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._errors: Counter[str] = Counter()
        names = pipeline.bundle.class_names
        self._class_names = names if settings.class_id_format == 'name' else None

    def answer(self, topic: ImageTopic, time_ns: int, data: bytes) -> Answer:
        """Detect objects in one image.

        Args:
            topic: where it was recorded.
            time_ns: its bag time.
            data: the serialised message.
        """
        header = header_at(time_ns)
        try:
            started = time.perf_counter()
            message = _deserialised(topic.msgtype, data)
            header = message.header
            image_bgr = message_to_bgr(message)
            decoded = time.perf_counter()
            found, timing = self._pipeline(
                image_bgr, self._settings.point, self._settings.postprocess
            )
            detected = time.perf_counter()
            detections = serialize_message(detections_to_message(found, header, self._class_names))
            ended = time.perf_counter()
        except Exception as error:  # one bad image must never end the run
            self._errors[topic.name] += 1
            reason = sentence(error)
            return Answer(None, self._stats(topic, header, {}, reason), 0, reason)
        steps = (1e3 * (decoded - started), 1e3 * (ended - detected), 1e3 * (ended - started))
        figures = {**_figures(timing, *steps), 'detections': len(found)}
        return Answer(detections, self._stats(topic, header, figures, ''), len(found), '')

    def labels(self, time_ns: int) -> bytes:
        """Return the serialised LabelInfo for detections from a bag time on."""
        names = self._pipeline.bundle.class_names
        threshold = self._settings.postprocess.confidence
        return serialize_message(label_info(names, threshold, header_at(time_ns)))

    def _stats(
        self, topic: ImageTopic, header: Header, figures: dict[str, object], error: str
    ) -> bytes:
        bundle, point = self._pipeline.bundle, self._settings.point
        level = bundle.ladder.level_of(point)
        values = {
            'camera': topic.camera,
            'depth': bundle.space.format(point.depth),
            'level': '' if level is None else level,
            'image_size': 'x'.join(map(str, point.image_size)),
            'wanted_depth': bundle.space.format(point.depth),
            'depth_mode': 'manual',
            **figures,
            'dropped': 0,
            'too_old': 0,
            'errors': self._errors[topic.name],
        }
        return serialize_message(stats_message(header, bundle.model_name, values, error))


def header_at(time_ns: int) -> Header:
    """Return a header for a bag time."""
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(time_ns, 1_000_000_000)
    return header


def _deserialised(msgtype: str, data: bytes) -> Image | CompressedImage:
    try:
        return deserialize_message(data, Image if msgtype == RAW else CompressedImage)
    except RuntimeError as error:  # its text names files of the middleware's build machine
        raise ValueError(f'the message of {len(data)} bytes is no whole {msgtype}') from error


def _figures(
    timing: Timing, decode_ms: float, publish_ms: float, total_ms: float
) -> dict[str, object]:
    return {
        'wait_ms': 0.0,
        'preprocess_ms': decode_ms + timing.preprocess_ms,
        'inference_ms': timing.inference_ms,
        'postprocess_ms': timing.postprocess_ms,
        'publish_ms': publish_ms,
        'total_ms': total_ms,
        'overhead_ms': total_ms - timing.inference_ms,
    }

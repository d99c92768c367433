"""One camera of the detector: its topics, its counts, and the answer to each of its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import time
from typing import Any

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from anydepth_core.depth import OperatingPoint
from anydepth_core.errors import sentence
from anydepth_core.models.postprocess import PostprocessSettings
from anydepth_core.runtime.visualise import draw
from anydepth_core.structures import Detections
from anydepth_ros import topics
from anydepth_ros.conversions import DetectionsWriter, label_info, stamp_ns, stats_message
from anydepth_ros.images import bgr_to_image, message_to_bgr
from anydepth_ros.missed import SequenceNumbers
from anydepth_ros.parameters import DetectorParameters
from anydepth_ros.qos import image_qos, overridable, overridable_input
from anydepth_ros.serving import name_of, Serving
from anydepth_ros.tally import Tally
from anydepth_ros.watchdog import Watchdog

# Whether a message comes with its number, by which those left in the middleware are counted: not
# on Humble.
TELLS_SEQUENCE = hasattr(Subscription, 'CallbackType')


@dataclass(frozen=True)
class Snapshot:
    """What a frame is processed with; read once at its start.

    Attributes:
        parameters: the values of all parameters.
        settings: what counts as a detection.
        points: the operating point each camera wants.
    """

    parameters: DetectorParameters
    settings: PostprocessSettings
    points: Mapping[str, OperatingPoint]


@dataclass(frozen=True)
class Frame:
    """An image on its way: the message, when its callback began and how old it was then."""

    message: Image | CompressedImage
    received_s: float
    received_age_ms: float


@dataclass(frozen=True)
class Scene:
    """What a debug image shows."""

    image_bgr: np.ndarray
    detections: Detections
    header: Header
    caption: str


class Camera:
    """The topics and counts of one camera; made when the node is configured."""

    def __init__(self, node: LifecycleNode, name: str, class_names: tuple[str, ...]) -> None:
        """Create the publishers; they are silent until the node is active.

        Args:
            node: the detector.
            name: of the camera, '' for the only one; its topics are under this name.
            class_names: of the model.

        Raises:
            Exception: if a publisher cannot be made; then none is left.
        """
        self.name = name
        self.tally = Tally()
        self.dropped = 0
        self.topic = ''
        self._node = node
        self._class_names = class_names
        self._prefix = f'{name}/' if name else ''
        self._subscription: Subscription | None = None
        self.watchdog = Watchdog(node, self.tally, f'{self._prefix}image')
        self._sequence = SequenceNumbers()
        self._write = DetectionsWriter()
        self._publishers: list[Any] = []
        try:
            self.detections = self._publisher(topics.DETECTIONS)
            self.stats = self._publisher(topics.STATS)
            self.labels = self._publisher(topics.LABEL_INFO)
            self.debug = self._publisher(topics.DEBUG_IMAGE)
        except Exception:  # an illegal override of a quality of service
            self.close()
            raise

    def close(self) -> None:
        """Unsubscribe and take the publishers away."""
        self.unsubscribe()
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = []

    def subscribe(
        self,
        parameters: DetectorParameters,
        offer: Callable[[str, Frame], bool],
        group: CallbackGroup,
    ) -> None:
        """Hand every image that arrives to ``offer``, which says whether it replaced another.

        ``image/compressed`` belongs to ``image`` after remapping, as image_transport has it.
        """
        compressed = parameters.image_transport == 'compressed'
        self.topic = self._node.resolve_topic_name(f'{self._prefix}image')
        if compressed and not self.topic.endswith('/compressed'):
            self.topic += '/compressed'

        def receive(message: Image | CompressedImage, info: Any) -> None:
            frame = self._received(message, info)
            self.dropped += offer(self.name, frame)

        self.tally.restart()
        self._sequence.restart()
        self._subscription = self._node.create_subscription(
            CompressedImage if compressed else Image,
            self.topic,
            receive if TELLS_SEQUENCE else lambda message: receive(message, None),
            image_qos(parameters.image_reliability),
            callback_group=group,
            qos_overriding_options=overridable_input(),
        )

    def take(self) -> Frame | None:
        """Take the newest image from the middleware, if one waits there; any thread may call."""
        subscription = self._subscription
        if subscription is None:
            return None
        taken = None
        try:
            with subscription.handle:
                # An override may have made the queue deeper than one; its newest is the last.
                for _ in range(max(1, subscription.qos_profile.depth)):
                    newer = subscription.handle.take_message(subscription.msg_type, False)
                    if newer is None:
                        break
                    taken = newer
        except InvalidHandle:  # the subscription was destroyed meanwhile
            return None
        if taken is None:
            self.watchdog.nothing_waits()
            return None
        return self._received(*taken)

    def resume(self) -> None:
        """Begin anew with rates, silence and gaps, as after a pause."""
        self.tally.restart()
        self._sequence.restart()

    def unsubscribe(self) -> None:
        """Stop listening to the camera."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        self.watchdog.rest()

    def publish_labels(self, threshold: float) -> None:
        """Tell the names of the classes and the lowest score that is published."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self.labels.publish(label_info(self._class_names, threshold, header))

    def watch(self, timeout_s: float, listening: bool) -> None:
        """Find out why no image is answered, if none is; see :class:`Watchdog`."""
        self.watchdog.watch(self._subscription, timeout_s, listening)

    def _received(self, message: Image | CompressedImage, info: Any) -> Frame:
        received_s = time.perf_counter()
        missed = self._sequence.missed(info)
        self.dropped += missed
        self.tally.received(1 + missed)
        return Frame(message, received_s, self._age_ms(message.header))

    # Frames; these run in the worker thread

    def answer(self, frame: Frame, serving: Serving, snapshot: Snapshot) -> Scene | None:
        """Publish the detections and figures of one image; return what a debug image may show.

        A bad image or a failing back end is counted and told, never raised.
        """
        started = time.perf_counter()
        limit, age = snapshot.parameters.max_image_age_ms, self._age_ms(frame.message.header)
        if limit and age > limit:
            self.tally.too_old(age)
            return None
        with serving.running(snapshot.points[self.name]) as point:
            return self._answer(frame, serving, snapshot, point, started)

    def _answer(
        self,
        frame: Frame,
        serving: Serving,
        snapshot: Snapshot,
        point: OperatingPoint,
        started: float,
    ) -> Scene | None:
        """Answer an image at an operating point."""
        header = frame.message.header
        self.watchdog.work_begins()
        try:
            serving.check_ready(point)
            image_bgr, found, figures = self._detect(frame, serving, snapshot, point, started)
        except Exception as error:  # one bad frame must never end the node
            self.tally.rejected(sentence(error))
            self._node.get_logger().error(
                f'frame skipped: {sentence(error)}', throttle_duration_sec=5.0
            )
            self._publish_stats(header, serving, snapshot, point, {}, sentence(error))
            return None
        finally:
            self.watchdog.work_ends()
        self.tally.answered(figures['total_ms'], figures['age_ms'])
        self._publish_stats(header, serving, snapshot, point, figures)
        caption = f'{name_of(serving.pipeline.bundle.space, point)}  {figures["total_ms"]:.0f} ms'
        return Scene(image_bgr, found, header, caption)

    def has_viewer(self) -> bool:
        """Whether someone looks at the debug images."""
        return self.debug.get_subscription_count() > 0

    def publish_debug(self, scene: Scene) -> None:
        """Draw and publish; runs in a thread of its own."""
        image_bgr = draw(scene.image_bgr, scene.detections, self._class_names, scene.caption)
        self.debug.publish(bgr_to_image(image_bgr, scene.header))

    def _detect(
        self,
        frame: Frame,
        serving: Serving,
        snapshot: Snapshot,
        point: OperatingPoint,
        started: float,
    ) -> tuple[np.ndarray, Detections, dict[str, Any]]:
        """Publish the detections of one image and return the figures of its way."""
        message = frame.message
        image_bgr = message_to_bgr(message)
        decoded = time.perf_counter()
        found, timing = serving.pipeline(image_bgr, point, snapshot.settings)
        detected = time.perf_counter()
        names = self._class_names if snapshot.parameters.class_id_format == 'name' else None
        self.detections.publish(self._write(found, message.header, names))
        published = time.perf_counter()
        total_ms = 1e3 * (published - frame.received_s)
        figures: dict[str, Any] = {
            'wait_ms': 1e3 * (started - frame.received_s),
            'preprocess_ms': 1e3 * (decoded - started) + timing.preprocess_ms,
            'inference_ms': timing.inference_ms,
            'postprocess_ms': timing.postprocess_ms,
            'publish_ms': 1e3 * (published - detected),
            'total_ms': total_ms,
            'overhead_ms': total_ms - timing.inference_ms,
            'received_age_ms': frame.received_age_ms,
            'age_ms': self._age_ms(message.header),
            'detections': len(found),
        }
        return image_bgr, found, figures

    def _publish_stats(
        self,
        header: Header,
        serving: Serving,
        snapshot: Snapshot,
        point: OperatingPoint,
        figures: Mapping[str, object],
        error: str = '',
    ) -> None:
        bundle = serving.pipeline.bundle
        level = bundle.ladder.level_of(point)
        too_old, errors = self.tally.losses()
        values = {
            'camera': self.name,
            'depth': bundle.space.format(point.depth),
            'level': '' if level is None else level,
            'image_size': 'x'.join(map(str, point.image_size)),
            'wanted_depth': bundle.space.format(snapshot.points[self.name].depth),
            'depth_mode': snapshot.parameters.depth_mode,
            **figures,
            'dropped': self.dropped,
            'too_old': too_old,
            'errors': errors,
        }
        self.stats.publish(stats_message(header, bundle.model_name, values, error))

    def _publisher(self, topic: topics.Topic) -> Any:
        publisher: Any = self._node.create_lifecycle_publisher(
            topic.message,
            self._prefix + topic.name,
            topic.profile,
            qos_overriding_options=overridable(),
        )
        self._publishers.append(publisher)
        return publisher

    def _age_ms(self, header: Header) -> float:
        """Return how old an image is by its own stamp, in the node's clock."""
        return (self._node.get_clock().now().nanoseconds - stamp_ns(header)) / 1e6

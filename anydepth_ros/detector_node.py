"""The detector: images in, detections out, at a depth that may change between any two frames.

Callbacks only look and leave: an image goes to a worker thread with room for one waiting frame, so
the newest frame wins and none queues. What a frame is processed with is one frozen snapshot, read
once at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from anydepth_core.depth import OperatingPoint
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_core.structures import Timing
from anydepth_ros.conversions import (
    detections_to_message,
    image_to_bgr,
    label_info,
    stamp_ns,
    stats_message,
)
from anydepth_ros.newest import NewestWorker
from anydepth_ros.parameters import changed, declare, DetectorParameters
from anydepth_ros.qos import image_qos, LATCHED, OUTPUT
from anydepth_ros.running import run_node
from anydepth_ros.serving import open_pipeline, prepare

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
BUILD_POLL_S = 0.005  # how often images are looked after while a depth is built


@dataclass(frozen=True)
class Snapshot:
    """What a frame is processed with: the parameters and the operating point their depth means."""

    parameters: DetectorParameters
    point: OperatingPoint


class DetectorNode(LifecycleNode):
    """The lifecycle node ``detector``.

    Configure loads the bundle and builds the ladder, activate subscribes; deactivate and cleanup
    undo that.
    """

    def __init__(
        self,
        open_pipeline: Callable[[str, int], Pipeline] = open_pipeline,
        **node_arguments: Any,
    ) -> None:
        """Declare the parameters; with ``autostart`` the node activates itself once it is spun.

        Args:
            open_pipeline: makes the pipeline of a bundle and a number of threads.
            node_arguments: passed on to the ROS node.

        Raises:
            ValueError: if a parameter is not legal.
        """
        super().__init__('detector', **node_arguments)
        self._open_pipeline = open_pipeline
        self._pipeline: Pipeline | None = None
        self._snapshot: Snapshot | None = None
        self._worker: NewestWorker[Image] | None = None
        self._subscription: Subscription | None = None
        self._errors = 0
        self._image_group = MutuallyExclusiveCallbackGroup()
        self._parameters_now = declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        if self._parameters_now.autostart:
            self._autostart_timer = self.create_timer(0.01, self._autostart)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle, build the ladder; a failure leaves the node unconfigured."""
        parameters = self._parameters_now
        pipeline: Pipeline | None = None
        try:
            pipeline = self._open_pipeline(parameters.bundle, parameters.threads)
            self._snapshot = Snapshot(parameters, prepare(pipeline, parameters.depth))
        except Exception as error:  # also a back end's own types; the node must stay alive
            self.get_logger().error(f'cannot configure: {_sentence(error)}')
            if pipeline is not None:
                pipeline.close()
            return FAILURE
        self._pipeline = pipeline
        self._detections = self.create_lifecycle_publisher(Detection2DArray, 'detections', OUTPUT)
        self._stats = self.create_lifecycle_publisher(DiagnosticArray, 'stats', OUTPUT)
        self._labels = self.create_lifecycle_publisher(LabelInfo, 'label_info', LATCHED)
        self._say_ready(pipeline)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish the labels and subscribe to the image."""
        result = super().on_activate(state)
        self._errors = 0
        self._worker = NewestWorker(self._process, 'detector')
        self._publish_labels()
        self._subscription = self.create_subscription(
            Image,
            'image',
            self._worker.offer,
            image_qos(self._parameters_now.image_reliability),
            callback_group=self._image_group,
        )
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish the frame in work; what was built stays."""
        self._stop_frames()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the bundle and the publishers."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, whatever the state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fall back to unconfigured instead of ending."""
        self._release()
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before ROS takes the publishers away."""
        self._stop_frames()
        if self._pipeline is not None:
            self._pipeline.close()
        super().destroy_node()

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _release(self) -> None:
        self._stop_frames()
        if self._pipeline is None:
            return
        for publisher in (self._detections, self._stats, self._labels):
            self.destroy_lifecycle_publisher(publisher)
        self._pipeline.close()
        self._pipeline = None
        self._snapshot = None

    def _stop_frames(self) -> None:
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    # Parameters

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Check a change; when this returns, the next frame uses it.

        So "set" means "in effect", and a depth that cannot be built is refused instead of failing
        later. The ladder, ``full`` and ``base`` are always ready: changing to them never waits.
        """
        try:
            now = changed(self._parameters_now, parameters, self._pipeline is not None)
            if self._pipeline is not None:
                self._snapshot = Snapshot(now, self._prepare(self._pipeline, now.depth))
        except Exception as error:  # also a back end's own types; a refusal must not end the node
            return SetParametersResult(successful=False, reason=_sentence(error))
        before, self._parameters_now = self._parameters_now, now
        if self._worker is not None and now.confidence_threshold != before.confidence_threshold:
            self._publish_labels()
        return SetParametersResult(successful=True)

    def _prepare(self, pipeline: Pipeline, depth: int | str) -> OperatingPoint:
        """Build a depth in another thread and pass images to the worker meanwhile.

        The executor has one thread and it is here: without this the images of the build's few
        tenths of a second would be lost. They are still answered at the depth in effect.
        """
        with ThreadPoolExecutor(1, 'build') as builder:
            build = builder.submit(prepare, pipeline, depth)
            while not wait([build], BUILD_POLL_S).done:
                self._take_image()
            return build.result()

    def _take_image(self) -> None:
        """Do what the executor does when an image waits; the group keeps another executor out."""
        subscription, worker, group = self._subscription, self._worker, self._image_group
        if subscription is None or worker is None or not group.beginning_execution(subscription):
            return
        try:
            with subscription.handle:
                taken = subscription.handle.take_message(Image, False)
            if taken is not None:
                worker.offer(taken[0])
        finally:
            group.ending_execution(subscription)

    # Frames

    def _process(self, message: Image) -> None:
        """Answer one image; runs in the worker thread."""
        pipeline, snapshot = self._pipeline, self._snapshot
        if pipeline is None or snapshot is None:
            return
        try:
            self._publish_stats(
                message.header, snapshot, self._detect(message, pipeline, snapshot)
            )
        except Exception as error:  # one bad frame must never end the node
            self._errors += 1
            self.get_logger().error(
                f'frame skipped: {_sentence(error)}', throttle_duration_sec=5.0
            )
            self._publish_stats(message.header, snapshot, {}, _sentence(error))

    def _detect(self, message: Image, pipeline: Pipeline, snapshot: Snapshot) -> dict[str, object]:
        """Publish the detections of one image and return the figures of its way."""
        started = time.perf_counter()
        image_bgr = image_to_bgr(message)
        found, timing = pipeline(image_bgr, snapshot.point, snapshot.parameters.settings())
        self._detections.publish(detections_to_message(found, message.header))
        total_ms = 1e3 * (time.perf_counter() - started)
        return {**_timing_values(timing, total_ms), 'detections': len(found)}

    def _publish_stats(
        self, header: Header, snapshot: Snapshot, figures: dict[str, object], error: str = ''
    ) -> None:
        pipeline, worker = self._pipeline, self._worker
        if pipeline is None:
            return
        bundle = pipeline.bundle
        level = bundle.ladder.level_of(snapshot.point)
        values = {
            'depth': bundle.space.format(snapshot.point.depth),
            'level': '' if level is None else level,
            'image_size': 'x'.join(map(str, snapshot.point.image_size)),
            **figures,
            'age_ms': self._age_ms(header),
            'dropped': worker.dropped if worker is not None else 0,
            'errors': self._errors,
        }
        self._stats.publish(stats_message(header, bundle.model_name, values, error))

    def _publish_labels(self) -> None:
        if self._pipeline is None:
            return
        header = Header(stamp=self.get_clock().now().to_msg())
        threshold = self._parameters_now.confidence_threshold
        self._labels.publish(label_info(self._pipeline.bundle.class_names, threshold, header))

    def _age_ms(self, header: Header) -> float:
        """Return how old the image is by its own stamp, in the node's clock."""
        now: Time = self.get_clock().now()
        return (now.nanoseconds - stamp_ns(header)) / 1e6

    def _say_ready(self, pipeline: Pipeline) -> None:
        bundle = pipeline.bundle
        levels = ', '.join(
            f'{i}: {bundle.space.format(p.depth)}' for i, p in enumerate(bundle.ladder.points)
        )
        self.get_logger().info(
            f'{bundle.model_name} with {len(bundle.class_names)} classes; levels {levels}'
        )


def _timing_values(timing: Timing, total_ms: float) -> dict[str, object]:
    return {
        'preprocess_ms': timing.preprocess_ms,
        'inference_ms': timing.inference_ms,
        'postprocess_ms': timing.postprocess_ms,
        'total_ms': total_ms,
    }


def _sentence(error: BaseException) -> str:
    """Return an error as one line."""
    return ' '.join(str(error).split()) or type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run_node(DetectorNode, arguments)


if __name__ == '__main__':
    raise SystemExit(main())

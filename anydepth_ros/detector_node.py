"""The detector: images in, detections out, at a depth that may change between any two frames.

Callbacks only look and leave: an image goes to a worker thread with room for one waiting frame of
each camera, so the newest frame wins and none queues. What a frame is processed with is one frozen
snapshot, read once at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from anydepth_core.errors import sentence
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_ros.camera import Camera, Frame, Scene, Snapshot, TELLS_SEQUENCE
from anydepth_ros.gate import ImageGroup
from anydepth_ros.newest import NewestWorker
from anydepth_ros.parameters import changed, declare, DetectorParameters
from anydepth_ros.reporting import NodeView, Reporter
from anydepth_ros.running import run_node
from anydepth_ros.serving import name_of, open_pipeline, pin_thread, Serving

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
WATCH_PERIOD_S = 0.5


class DetectorNode(LifecycleNode):
    """The lifecycle node ``detector``.

    Configure loads the bundle and builds the wanted depth, activate subscribes; deactivate and
    cleanup undo that. Other depths are built in the background.
    """

    def __init__(
        self,
        open_pipeline: Callable[..., Pipeline] = open_pipeline,
        **node_arguments: Any,
    ) -> None:
        """Declare the parameters; with ``autostart`` the node activates itself once it is spun.

        Args:
            open_pipeline: makes the pipeline; takes what ``serving.open_pipeline`` takes.
            node_arguments: passed on to the ROS node.

        Raises:
            ValueError: if a parameter is not legal.
        """
        super().__init__('detector', **node_arguments)
        self._open_pipeline = open_pipeline
        self._serving: Serving | None = None
        self._snapshot: Snapshot | None = None
        self._cameras: dict[str, Camera] = {}
        self._worker: NewestWorker[Frame] | None = None
        self._drawer: NewestWorker[Scene] | None = None
        self._images = ImageGroup(self._wake)
        self._parameters_now = declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.create_service(SetBool, '~/enable', self._on_enable)
        # A timer on ROS time would stand still until a simulation's clock runs.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = self._parameters_now.diagnostics_period_s
        self._reporter = Reporter(self, period_s, self._steady, self._view)
        self.create_timer(WATCH_PERIOD_S, self._watch, clock=self._steady)
        if self._parameters_now.autostart:
            self._autostart_timer = self.create_timer(0.01, self._autostart, clock=self._steady)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle, build the wanted depth; a failure leaves nothing half made."""
        try:
            self._make(self._parameters_now)
        except Exception as error:  # also a back end's own types; the node must stay alive
            self._reporter.failed('configure', error)
            self._release()
            return FAILURE
        self._reporter.entered('inactive')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish the labels and subscribe to the images."""
        result = super().on_activate(state)
        try:
            self._start_frames()
        except Exception as error:  # the node must stay alive
            self._reporter.failed('activate', error)
            self._stop_frames()
            super().on_deactivate(state)
            return FAILURE
        self._reporter.entered('active')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish the frame in work; what was built stays."""
        self._stop_frames()
        self._reporter.entered('inactive')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the bundle and the publishers."""
        self._release()
        self._reporter.entered('unconfigured')
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, whatever the state."""
        self._release()
        self._reporter.entered('finalized')
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fall back to unconfigured instead of ending."""
        self._release()
        self._reporter.entered('unconfigured')
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the threads before ROS takes the publishers away."""
        self._stop_frames()
        if self._serving is not None:
            self._serving.close()
        super().destroy_node()

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _make(self, now: DetectorParameters) -> None:
        cameras = now.cameras or ('',)
        pipeline = self._open_pipeline(now.model, now.runtime(), now.cpu_affinity)
        try:
            self._snapshot = _snapshot(now, pipeline)
            wanted = list(dict.fromkeys(self._snapshot.points.values()))
            self._serving = Serving(pipeline, wanted, now.cpu_affinity, self._on_build)
        except Exception:
            pipeline.close()
            raise
        class_names = pipeline.bundle.class_names
        for name in cameras:
            self._cameras[name] = Camera(self, name, class_names)
        self._say_ready(pipeline)

    def _release(self) -> None:
        self._stop_frames()
        for camera in self._cameras.values():
            camera.close()
        self._cameras = {}
        if self._serving is not None:
            self._serving.close()
        self._serving = self._snapshot = None

    def _start_frames(self) -> None:
        now = self._parameters_now
        pin = partial(pin_thread, now.cpu_affinity)
        self._drawer = NewestWorker(self._draw, 'debug image')
        # While a frame is in work, images are left in the middleware, where the newest replaces
        # the older ones at no cost; where those could not be counted, every image is taken.
        pull: dict[str, Any] = (
            {'sources': list(self._cameras), 'take': self._take, 'listen': self._images.listen}
            if TELLS_SEQUENCE
            else {}
        )
        self._worker = NewestWorker(self._process, 'detector', pin, **pull)
        for camera in self._cameras.values():
            camera.publish_labels(now.confidence_threshold)
            camera.subscribe(now, self._worker.offer, self._images)

    def _stop_frames(self) -> None:
        for camera in self._cameras.values():
            camera.unsubscribe()
        for worker in (self._worker, self._drawer):
            if worker is not None:
                worker.stop()
        self._worker = self._drawer = None

    # Parameters and services

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Check a change; from the next frame on it is in effect.

        A legal depth that is not built yet is built in the background while the nearest ready
        one serves.
        """
        before, serving = self._parameters_now, self._serving
        try:
            now = changed(before, parameters, serving is not None)
            snapshot = None if serving is None else _snapshot(now, serving.pipeline)
        except Exception as error:  # a refusal must not end the node
            return SetParametersResult(successful=False, reason=sentence(error))
        self._parameters_now, self._snapshot = now, snapshot
        depth_given = any(one.name.rpartition('.')[2] == 'depth' for one in parameters)
        if serving is not None and snapshot is not None and depth_given:
            serving.want(list(dict.fromkeys(snapshot.points.values())))
        if self._worker is not None and now.confidence_threshold != before.confidence_threshold:
            for camera in self._cameras.values():
                camera.publish_labels(now.confidence_threshold)
        return SetParametersResult(successful=True)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Take images or leave them untouched; model and subscription stay."""
        self._images.pause(not request.data)
        for camera in self._cameras.values():
            camera.resume()
        response.success = True
        response.message = 'images are answered' if request.data else 'paused'
        return response

    # Frames

    def _wake(self) -> None:
        """Make the executor look at the gate of the images anew."""
        if self.executor is not None:
            self.executor.wake()

    def _take(self, name: str) -> Frame | None:
        """Take the newest image of a camera; runs in the worker thread."""
        camera = self._cameras.get(name)
        if camera is None or self._images.paused:
            return None
        try:
            return camera.take()
        except Exception as error:  # of the middleware; the thread must live on
            self.get_logger().error(f'image lost: {sentence(error)}', throttle_duration_sec=5.0)
            return None

    def _process(self, name: str, frame: Frame) -> None:
        """Answer one image; runs in the worker thread."""
        serving, snapshot, drawer = self._serving, self._snapshot, self._drawer
        camera = self._cameras.get(name)
        if serving is None or snapshot is None or camera is None:
            return
        try:
            scene = camera.answer(frame, serving, snapshot)
            if scene is not None and drawer is not None and camera.has_viewer():
                drawer.offer(name, scene)
        except Exception as error:  # a topic that is taken away while the node ends
            self.get_logger().error(f'frame lost: {sentence(error)}', throttle_duration_sec=5.0)

    def _draw(self, name: str, scene: Scene) -> None:
        """Publish one debug image; runs in the drawing thread."""
        try:
            self._cameras[name].publish_debug(scene)
        except Exception as error:  # a picture for people must not end anything
            self.get_logger().error(
                f'no debug image: {sentence(error)}', throttle_duration_sec=5.0
            )

    # Reports

    def _view(self) -> NodeView:
        cameras = list(self._cameras.values())
        return NodeView(
            self._parameters_now, self._serving, self._snapshot, cameras, self._images.paused
        )

    def _watch(self) -> None:
        timeout_s = self._parameters_now.image_timeout_s
        for camera in self._cameras.values():
            camera.watch(0.0 if self._images.paused else timeout_s, self._images.listening)

    def _on_build(self, text: str, failed: bool) -> None:
        """Log a build; called from the building thread."""
        if failed:
            self.get_logger().error(f'{text}; the nearest ready depth serves')
        else:
            self.get_logger().info(text)

    def _say_ready(self, pipeline: Pipeline) -> None:
        bundle = pipeline.bundle
        levels = ', '.join(
            f'{level}: {name_of(bundle.space, point)}'
            for level, point in enumerate(bundle.ladder.points)
        )
        self.get_logger().info(
            f'{bundle.model_name} with {len(bundle.class_names)} classes; levels {levels}'
        )


def _snapshot(now: DetectorParameters, pipeline: Pipeline) -> Snapshot:
    """Say what frames are processed with.

    Raises:
        ValueError: if a depth or class is none of this model's.
    """
    points = {camera: pipeline.resolve(now.depth_of(camera)) for camera in now.cameras or ('',)}
    return Snapshot(now, now.settings(pipeline.bundle.class_names), points)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run_node(DetectorNode, arguments)


if __name__ == '__main__':
    raise SystemExit(main())

"""Publishes what the detector is doing on ``/diagnostics``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import socket

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.publisher import Publisher

from anydepth_core.depth import OperatingPoint
from anydepth_core.errors import sentence
from anydepth_ros.camera import Camera, Snapshot
from anydepth_ros.diagnostics import CameraState, EngineState, statuses
from anydepth_ros.parameters import DetectorParameters
from anydepth_ros.serving import name_of, Serving
from anydepth_ros.topics import DIAGNOSTICS


@dataclass(frozen=True)
class NodeView:
    """What a report is made from, at one moment."""

    parameters: DetectorParameters
    serving: Serving | None
    snapshot: Snapshot | None
    cameras: Sequence[Camera]
    paused: bool


class Reporter:
    """Knows the state of the node and reports it, also while it is not configured."""

    def __init__(
        self, node: Node, period_s: float, clock: Clock, view: Callable[[], NodeView]
    ) -> None:
        """Start to report.

        Args:
            node: the detector.
            period_s: seconds between two messages.
            clock: of the timer.
            view: returns what there is to report.
        """
        self._node = node
        self._view = view
        self._state = 'unconfigured'
        self._error = ''
        self._publisher: Publisher = node.create_publisher(
            DIAGNOSTICS.message, DIAGNOSTICS.name, DIAGNOSTICS.profile
        )
        node.create_timer(period_s, self.report, clock=clock)

    def entered(self, state: str) -> None:
        """Note the lifecycle state; an earlier failure is past."""
        self._state, self._error = state, ''
        self.report()

    def failed(self, action: str, error: Exception) -> None:
        """Note and log that a transition failed."""
        self._error = f'cannot {action}: {sentence(error)}'
        self._node.get_logger().error(self._error)
        self.report()

    def report(self) -> None:
        """Publish the statuses of now."""
        view = self._view()
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = statuses(
            self._node.get_name(), socket.gethostname(), self._engine(view), _cameras(view)
        )
        self._publisher.publish(message)

    def _engine(self, view: NodeView) -> EngineState:
        ready: tuple[str, ...] = ()
        building: tuple[str, ...] = ()
        failed: tuple[tuple[str, str], ...] = ()
        if (serving := view.serving) is not None:
            space = serving.pipeline.bundle.space
            ready = tuple(name_of(space, point) for point in serving.ready())
            point = serving.building()
            building = () if point is None else (name_of(space, point),)
            failed = tuple((name_of(space, one), why) for one, why in serving.failed().items())
        return EngineState(
            state=self._state,
            backend=view.parameters.backend,
            model=view.parameters.model,
            ready=ready,
            building=building,
            failed=failed,
            error=self._error,
        )


def _cameras(view: NodeView) -> list[CameraState]:
    serving, snapshot = view.serving, view.snapshot
    if serving is None or snapshot is None:
        return []
    return [_camera(camera, serving, snapshot, view.paused) for camera in view.cameras]


def _camera(camera: Camera, serving: Serving, snapshot: Snapshot, paused: bool) -> CameraState:
    bundle, wanted = serving.pipeline.bundle, snapshot.points[camera.name]
    now = serving.serve(wanted)
    return CameraState(
        name=camera.name,
        topic=camera.topic,
        report=camera.tally.report(),
        dropped=camera.dropped,
        silence=camera.watchdog.silence,
        paused=paused,
        target_latency_ms=snapshot.parameters.target_latency_ms,
        max_image_age_ms=snapshot.parameters.max_image_age_ms,
        depth=name_of(bundle.space, now),
        wanted_depth=name_of(bundle.space, wanted),
        level=bundle.ladder.level_of(now),
        top_level=len(bundle.ladder) - 1,
        depth_mode=snapshot.parameters.depth_mode,
        depth_reason=_reason(serving, snapshot, wanted, now),
    )


def _reason(
    serving: Serving, snapshot: Snapshot, wanted: OperatingPoint, now: OperatingPoint
) -> str:
    if now != wanted:
        return serving.why_not(wanted)
    auto = snapshot.parameters.depth_mode == 'auto'
    return 'chosen by the depth controller' if auto else 'set by parameter'

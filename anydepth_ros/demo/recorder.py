"""Listens to what the nodes say, joins it by stamp, and sets their parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
import numpy as np
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from anydepth_core.control.signals import Decision
from anydepth_core.structures import Detections
from anydepth_ros.conversions import message_to_detections, stamp_ns, stats_values
from anydepth_ros.demo.course import Setting
from anydepth_ros.images import image_to_bgr
from anydepth_ros.qos import image_qos, OUTPUT

WAITING = 100  # images kept until they are answered; a dropped one is never answered


@dataclass(frozen=True)
class Answer:
    """One image with what the detector said about it.

    Attributes:
        time_s: when the detections arrived, seconds on the monotonic clock.
        image_bgr: (H, W, 3) uint8.
        detections: boxes in pixels of the image.
        depth: operating point the image was processed with, ``1111-1111@320`` or
            ``1111-1d6@640``.
        level: its place on the ladder, None if it has none.
        latency_ms: from the arrival of the image at the detector to its detections.
        inference_ms: share of the network.
        age_ms: from the stamp of the image to the arrival of its detections here.
        dropped: images the detector has dropped so far for newer ones.
    """

    time_s: float
    image_bgr: np.ndarray
    detections: Detections
    depth: str
    level: int | None
    latency_ms: float
    inference_ms: float
    age_ms: float
    dropped: int


@dataclass
class _Parts:
    image: Image | None = None
    detections: Detection2DArray | None = None
    stats: DiagnosticArray | None = None
    time_s: float = 0.0
    age_ms: float = 0.0


class RecorderNode(Node):
    """The node ``recorder``; calls back with every answered image and every decision."""

    def __init__(
        self, answered: Callable[[Answer], None], told: Callable[[Decision, bool], None]
    ) -> None:
        """Subscribe.

        Args:
            answered: called with each answer, in the order of arrival.
            told: called with each decision of the controller, and whether it is in charge.
        """
        super().__init__('recorder')
        self.images_in = 0
        self.messages_out = 0
        self._answered = answered
        self._told = told
        self._waiting: OrderedDict[int, _Parts] = OrderedDict()
        self.create_subscription(Image, 'image', self._on_image, image_qos('reliable', 10))
        self.create_subscription(Detection2DArray, 'detections', self._on_detections, OUTPUT)
        self.create_subscription(DiagnosticArray, 'stats', self._on_stats, OUTPUT)
        self.create_subscription(DiagnosticArray, 'controller/decision', self._on_decision, OUTPUT)
        self._set_parameters: dict[str, Any] = {
            node: self.create_client(SetParameters, f'{node}/set_parameters')
            for node in ('detector', 'controller')
        }
        self._get_state: Any = self.create_client(GetState, 'detector/get_state')

    def reachable(self) -> bool:
        """Whether the parameters of both nodes can be set."""
        return all(client.service_is_ready() for client in self._set_parameters.values())

    def set_parameter(self, setting: Setting, done: Callable[[bool, str], None]) -> None:
        """Set a live parameter through the node's parameter service.

        Args:
            setting: of which node, and what it shall be.
            done: called with success and the reason of a refusal.
        """
        parameter = Parameter(setting.parameter, value=setting.value)
        message: ParameterMessage = parameter.to_parameter_msg()

        def finished(future: Future) -> None:
            response = future.result()
            if response is not None:
                done(response.results[0].successful, response.results[0].reason)

        request = SetParameters.Request(parameters=[message])
        self._set_parameters[setting.node].call_async(request).add_done_callback(finished)

    def ask_for_state(self, done: Callable[[str], None]) -> None:
        """Ask for the lifecycle state of the detector.

        Args:
            done: called with its name once the detector answers, which it does not while it
                builds.
        """

        def finished(future: Future) -> None:
            response = future.result()
            if response is not None:
                done(response.current_state.label)

        self._get_state.call_async(GetState.Request()).add_done_callback(finished)

    def _on_image(self, message: Image) -> None:
        self.images_in += 1
        parts = self._parts(stamp_ns(message.header))
        parts.image = message
        self._join(stamp_ns(message.header), parts)

    def _on_detections(self, message: Detection2DArray) -> None:
        self.messages_out += 1
        key = stamp_ns(message.header)
        parts = self._parts(key)
        parts.detections = message
        parts.time_s = time.monotonic()
        parts.age_ms = (self.get_clock().now().nanoseconds - key) / 1e6
        self._join(key, parts)

    def _on_stats(self, message: DiagnosticArray) -> None:
        parts = self._parts(stamp_ns(message.header))
        parts.stats = message
        self._join(stamp_ns(message.header), parts)

    def _on_decision(self, message: DiagnosticArray) -> None:
        values = stats_values(message)
        decision = Decision(int(values['Level']), values['Reason'], values['Authority'])
        self._told(decision, values['Mode'] == 'auto')

    def _parts(self, key: int) -> _Parts:
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
        return self._waiting.setdefault(key, _Parts())

    def _join(self, key: int, parts: _Parts) -> None:
        if parts.image is None or parts.detections is None or parts.stats is None:
            return
        del self._waiting[key]
        values = stats_values(parts.stats)
        self._answered(
            Answer(
                time_s=parts.time_s,
                image_bgr=image_to_bgr(parts.image),
                detections=message_to_detections(parts.detections),
                depth=operating_point(values),
                level=int(values['level']) if values['level'] else None,
                latency_ms=float(values['total_ms']),
                inference_ms=float(values['inference_ms']),
                age_ms=parts.age_ms,
                dropped=int(values['dropped']),
            )
        )


def operating_point(values: dict[str, str]) -> str:
    """Return depth and input size of the stats of a frame in short, ``1111-1111@320``."""
    height, _, width = values['image_size'].partition('x')
    return f'{values["depth"]}@{height if height == width else values["image_size"]}'

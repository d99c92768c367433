"""What the node tests share: a probe for images and answers, a detector with a gate."""

from __future__ import annotations

import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import load_bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_ros.conversions import stamp_ns, stats_values
from anydepth_ros.detector_node import DetectorNode
from anydepth_ros.images import bgr_to_image
from anydepth_ros.qos import image_qos, OUTPUT
from anydepth_ros.serving import check_cpus
from tests.anydepth_core.support.toy_bundle import picture
from tests.anydepth_ros.conftest import Graph, wait_until


class Probe(Node):
    """Sends images, keeps detections and stats by stamp, sets parameters of the detector."""

    def __init__(self, name: str = 'probe', camera: str = '', **node_arguments: Any) -> None:
        super().__init__(name, **node_arguments)
        prefix = f'{camera}/' if camera else ''
        self.detections: dict[int, Detection2DArray] = {}
        self.stats: dict[int, dict[str, str]] = {}
        self.errors: dict[int, str] = {}
        self.order: list[int] = []
        self.last_stamp = 0
        self._images = self.create_publisher(Image, f'{prefix}image', image_qos('reliable', 50))
        self.create_subscription(
            Detection2DArray, f'{prefix}detections', self._on_detections, OUTPUT
        )
        self.create_subscription(DiagnosticArray, f'{prefix}stats', self._on_stats, OUTPUT)
        self._answers = f'{prefix}detections'
        self._client: Any = self.create_client(SetParameters, 'detector/set_parameters')

    def wait_for_detector(self) -> None:
        """Wait until the detector is subscribed and its topics are heard."""
        wait_until(lambda: self._images.get_subscription_count() == 1, 'the detector subscribes')
        wait_until(lambda: self.count_publishers(self._answers) == 1, 'the detector publishes')
        wait_until(self._client.service_is_ready, 'the parameter service')

    def meet_detector(self) -> None:
        """Wait until a detector in another process answers.

        What is sent before it has matched this node is lost.
        """
        self.wait_for_detector()
        wait_until(lambda: self.send() and self._any_answer(), 'a first answer')

    def _any_answer(self) -> bool:
        time.sleep(0.2)
        return bool(set(self.detections) & set(self.stats))

    def send(self, image_bgr: np.ndarray | None = None) -> int:
        """Send a picture with one red cell, or what is given; return its stamp."""
        header = self.next_header()
        self._images.publish(
            bgr_to_image(picture((0, 0, 0)) if image_bgr is None else image_bgr, header)
        )
        return self.last_stamp

    def send_message(self, message: Image) -> int:
        """Send an image message with the next stamp."""
        message.header = self.next_header()
        self._images.publish(message)
        return self.last_stamp

    def send_with(self, header: Header, image_bgr: np.ndarray) -> int:
        """Send a picture with a header of one's own; return its stamp."""
        stamp = stamp_ns(header)
        self.detections.pop(stamp, None)
        self.stats.pop(stamp, None)
        self._images.publish(bgr_to_image(image_bgr, header))
        return stamp

    def next_header(self) -> Header:
        """Return a header with the time of now; never the same twice."""
        stamp = max(self.get_clock().now().nanoseconds, self.last_stamp + 1)
        self.last_stamp = stamp
        header = Header(frame_id='camera')
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        return header

    def answer(self, stamp: int) -> Detection2DArray:
        """Wait for the detections and the stats of an image."""
        wait_until(lambda: stamp in self.detections and stamp in self.stats, f'answer to {stamp}')
        return self.detections[stamp]

    def depth_of(self, stamp: int) -> str:
        """Return the depth an image was processed with."""
        self.answer(stamp)
        return self.stats[stamp]['depth']

    def set(self, **parameters: Any) -> tuple[bool, str]:
        """Set parameters through the service; return success and reason of the first refusal."""
        future = self.set_later(**parameters)
        wait_until(future.done, f'answer to {parameters}')
        refused = [result for result in future.result().results if not result.successful]
        return (False, refused[0].reason) if refused else (True, '')

    def set_later(self, **parameters: Any) -> Any:
        """Ask for parameters and return the future."""
        messages = [
            Parameter(name, value=value).to_parameter_msg() for name, value in parameters.items()
        ]
        return self._client.call_async(SetParameters.Request(parameters=messages))

    def _on_detections(self, message: Detection2DArray) -> None:
        self.order.append(stamp_ns(message.header))
        self.detections[stamp_ns(message.header)] = message

    def _on_stats(self, message: DiagnosticArray) -> None:
        stamp = stamp_ns(message.header)
        self.stats[stamp] = stats_values(message)
        if message.status[0].message != 'ok':
            self.errors[stamp] = message.status[0].message


class GatedRuntime(OnnxRuntime):
    """ONNX Runtime whose inference and builds wait while their gate is closed."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.run_gate, self.build_gate = threading.Event(), threading.Event()
        self.run_gate.set()
        self.build_gate.set()
        self.running = threading.Event()
        self.building = threading.Event()
        self.fail_run = self.fail_build = ''

    def run(self, images: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        self.running.set()
        self.run_gate.wait(30)
        if self.fail_run:
            raise RuntimeError(self.fail_run)
        return super().run(images, point)

    def prepare(self, point: OperatingPoint, image_size: tuple[int, int] | None = None) -> None:
        if not self.ready(point):
            self.building.set()
            self.build_gate.wait(30)
            if self.fail_build:
                raise RuntimeError(self.fail_build)
        super().prepare(point, image_size)


def start_detector(graph: Graph, **parameters: Any) -> tuple[DetectorNode, Probe]:
    """Start a detector and a probe of its (first) camera and wait until they hear each other."""
    camera = next(iter(parameters.get('cameras', [])), '')
    detector, probe = make_detector(graph, **parameters), Probe(camera=camera)
    graph.add(probe)
    probe.wait_for_detector()
    wait_until_matched(detector, camera)
    wait_until_active(detector)
    wait_until_built(detector)
    return detector, probe


def wait_until_active(detector: DetectorNode) -> None:
    """Wait until the transitions of autostart are over; another one would be refused before."""
    wait_until(lambda: detector._state_machine.current_state[1] == 'active', 'the node is active')


def wait_until_built(detector: DetectorNode) -> None:
    """Wait until the background has built all that is wanted and kept."""
    serving = wait_until(lambda: detector._serving, 'the detector is configured')
    wait_until(lambda: serving._missing() is None, 'the depths are built')


def wait_until_matched(detector: DetectorNode, camera: str = '') -> None:
    """Wait until the detector's publishers know their subscribers; before, messages are lost."""
    one = wait_until(lambda: detector._cameras.get(camera), 'the detector is configured')
    for publisher in (one.detections, one.stats):
        wait_until(lambda publisher=publisher: publisher.get_subscription_count() == 1, 'a match')


def make_detector(
    graph: Graph, cli_args: list[str] | None = None, **parameters: Any
) -> DetectorNode:
    """Start a detector with gated inference; ``detector.runtime`` is its gate once configured."""

    def open_pipeline(model: str, *arguments: Any) -> Pipeline:
        check_cpus(arguments[1])
        bundle = load_bundle(model)
        settings = RuntimeSettings(threads=1, max_points=len(bundle.ladder) + 4)
        detector.runtime = GatedRuntime(bundle, settings)
        detector.runtime.fail_build = getattr(detector, 'fail_build', '')
        if getattr(detector, 'hold_builds', False):
            detector.runtime.build_gate.clear()
        return Pipeline(bundle, detector.runtime)

    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    detector: Any = DetectorNode(open_pipeline, parameter_overrides=overrides, cli_args=cli_args)
    graph.add(detector)
    return detector

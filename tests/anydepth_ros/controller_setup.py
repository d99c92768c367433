"""A controller with a real detector and sensors that tell what a test wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from anydepth_core.export.bundle import Bundle
from anydepth_core.sensing.sample import Sample
from anydepth_ros.controller_node import ControllerNode
from anydepth_ros.qos import OUTPUT
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.support import start_detector

HOT = {'temperature_soft_c': 70.0, 'temperature_hard_c': 90.0}


class FakeSampler:
    """Sensors of a machine that tell what a test wants."""

    def __init__(self) -> None:
        self.sample = Sample(0.0)
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def newest(self) -> Sample:
        return self.sample

    def heat(self, celsius: float, zone: str = 'gpu') -> None:
        self.sample = replace(self.sample, temperatures_c={zone: celsius})


def fake_sampler(root: Path) -> Any:
    """Make sensors that tell nothing."""
    return FakeSampler()


class Setup:
    """Detector, controller and a probe that sends images all the time and hears decisions."""

    def __init__(
        self,
        graph: Graph,
        bundle: Bundle,
        mode: str = 'auto',
        clock: Callable[[], float] = time.monotonic,
        **targets: Any,
    ) -> None:
        self.detector, self.probe = start_detector(graph, model=str(bundle.path), depth_mode=mode)
        self.sampler = FakeSampler()
        values = {'model': str(bundle.path), 'decision_period_s': 0.02, **targets}
        sampler: Any = self.sampler
        self.controller = ControllerNode(
            lambda root: sampler,
            clock,
            parameter_overrides=[Parameter(name, value=one) for name, one in values.items()],
        )
        graph.add(self.controller)
        self.decisions: list[DiagnosticArray] = []
        self.probe.create_subscription(
            DiagnosticArray, 'controller/decision', self.decisions.append, OUTPUT
        )
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.count = Counter[str]()
        self.probe.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, OUTPUT
        )
        self.client: Any = self.probe.create_client(SetParameters, 'controller/set_parameters')
        wait_until(lambda: self.controller.count_publishers('/stats') == 1, 'they know each other')

    def level(self) -> str:
        """Send an image and return the level it was processed at."""
        stamp = self.probe.send()
        self.probe.answer(stamp)
        return self.probe.stats[stamp]['level']

    def reach(self, level: str) -> None:
        wait_until(lambda: self.level() == level, f'level {level}')

    def told(self) -> tuple[bytes, str]:
        status: DiagnosticStatus = self.decisions[-1].status[0]
        return status.level, status.message

    def set(self, **values: Any) -> tuple[bool, str]:
        messages = [Parameter(name, value=one).to_parameter_msg() for name, one in values.items()]
        future = self.client.call_async(SetParameters.Request(parameters=messages))
        wait_until(future.done, 'the answer')
        result = future.result().results[0]
        return result.successful, result.reason

    def sensors(self) -> tuple[bytes, str, dict[str, str]]:
        """Return level, message and values of the newest status of the sensors."""
        status = wait_until(lambda: self.statuses.get('controller: sensors'), 'the status')
        return status.level, status.message, {pair.key: pair.value for pair in status.values}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.statuses.update({one.name: one for one in message.status})
        self.count.update(one.name for one in message.status)

"""The sensors of this machine: read for a controller, and told to people."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from anydepth_core.control.readings import BatteryReading
from anydepth_core.control.signal_board import SignalBoard
from anydepth_core.control.targets import Targets
from anydepth_core.sensing.sample import Sample
from anydepth_core.sensing.sampler import Sampler
from anydepth_core.sensing.thermal import TripPoints
from anydepth_ros.controller_parameters import ControllerParameters
from anydepth_ros.news import News
from anydepth_ros.sensor_report import sensors_message, unheard_limits

TELL_EVERY_S = 1.0


class Machine:
    """Puts what the sensors say on the board, and tells people about the sensors."""

    def __init__(
        self,
        node: Node,
        sampler: Sampler | None,
        board: SignalBoard,
        publish: Callable[[DiagnosticArray], None],
        now_s: float,
    ) -> None:
        """Start the sensors.

        Args:
            node: whose status and log it is.
            sampler: the sensors; None if they are not read.
            board: where their readings go.
            publish: takes the status.
            now_s: the present moment on the clock of the signals.
        """
        self._node = node
        self._sampler = sampler
        self._board = board
        self._began_s = now_s
        self._told_s: float | None = None
        self._problems, self._absent = News(), News(forget_after_s=float('inf'))
        self._publish = publish
        self.sample: Sample | None = None
        self.trips: dict[str, TripPoints] = {}
        if sampler is not None:
            sampler.start()

    def stop(self) -> None:
        """Stop the sensors."""
        if self._sampler is not None:
            self._sampler.stop()

    def read(self, now_s: float) -> bool:
        """Put the newest readings on the board.

        Returns:
            Whether the trip points have changed. Those of a zone that falls silent stay.
        """
        if self._sampler is None:
            return False
        sample = self.sample = self._sampler.newest()
        battery = BatteryReading(sample.battery, sample.charging)
        self._board.machine(
            now_s, sample.temperatures_c, sample.power_w, battery, sample.over_current
        )
        before, self.trips = self.trips, {**self.trips, **sample.trip_points}
        return self.trips != before

    def tell(self, now_s: float, now: ControllerParameters, targets: Targets) -> None:
        """Publish the status at most once a second; log what is new.

        Args:
            now_s: the present moment on the clock of the signals.
            now: the parameters.
            targets: in force.
        """
        if self._told_s is not None and now_s - self._told_s < TELL_EVERY_S:
            return
        self._told_s = now_s
        problems = [] if self.sample is None else list(self.sample.problems)
        if now_s - self._began_s > now.signal_timeout_s:  # before, they may still come
            known = self._board.temperatures_c(now_s)
            problems += unheard_limits(targets, now.zones_with_limits(), known)
        for text in self._problems.among(now_s, problems):
            self._node.get_logger().warning(text)
        for text in self._absent.among(now_s, self.sample.absent if self.sample else ()):
            self._node.get_logger().info(f'not on this device: {text}')
        message = sensors_message(self._node.get_name(), self.sample, problems)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publish(message)

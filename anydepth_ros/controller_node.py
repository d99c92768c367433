"""The controller: sets the detector's depth from frame rate, heat, power and battery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
import platform
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import BatteryState, Temperature

from anydepth_core.control.assumed import assumed_profile
from anydepth_core.control.calibration import Calibration
from anydepth_core.control.controller import Controller
from anydepth_core.control.profile import load_profile, Profile, save_profile
from anydepth_core.control.readings import (
    battery_reading,
    frame_report,
    FrameReport,
    jetson_readings,
    temperature_reading,
)
from anydepth_core.control.signal_board import SignalBoard
from anydepth_core.control.signals import Decision
from anydepth_core.errors import sentence
from anydepth_core.export.bundle import load_bundle
from anydepth_core.sensing.sampler import Sampler, sampler_of
from anydepth_ros.controller_parameters import (
    changed_controller,
    ControllerParameters,
    declare_controller,
)
from anydepth_ros.controller_report import decision_message, DetectorState, drift_words
from anydepth_ros.depth_client import DepthClient
from anydepth_ros.machine import Machine
from anydepth_ros.qos import image_qos, OUTPUT
from anydepth_ros.rivals import RivalWatch
from anydepth_ros.running import run_node

SAY_AGAIN_S = 10.0


class ControllerNode(Node):
    """The node ``controller``: decides after each image and asks the detector for its depth."""

    def __init__(
        self,
        make_sampler: Callable[[Path], Sampler] = sampler_of,
        clock: Callable[[], float] = time.monotonic,
        **node_arguments: Any,
    ) -> None:
        """Declare the parameters, load the ladder and begin.

        Args:
            make_sampler: makes the reader of the sensors below a directory.
            clock: returns seconds; that of the signals.
            node_arguments: passed on to the ROS node.

        Raises:
            ValueError: if a parameter, the bundle or the profile is not legal.
        """
        super().__init__('controller', **node_arguments)
        self._seconds = clock
        self._machine: Machine | None = None
        self._now = declare_controller(self)
        self._mission_began_s = clock()
        self._board = SignalBoard(self._now.signal_timeout_s)
        self._profile = _profile(self._now)
        self._measured = bool(self._now.profile) and not self._now.calibrate_on_start
        self._drift_told = False
        self._calibration = (
            Calibration(self._profile, self._now.calibration_frames)
            if self._now.calibrate_on_start
            else None
        )
        self._targets = self._now.targets(self._mission_began_s)
        self._controller = Controller(self._profile, self._targets)
        self._client = DepthClient(self, self._now.detector, self._now.depth_parameter(), clock)
        self._rivals = RivalWatch(
            self, self._client, lambda: self._board.depth_mode(clock()) == 'auto', clock
        )
        self._decisions = self.create_publisher(DiagnosticArray, '~/decision', OUTPUT)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', OUTPUT)
        sampler = make_sampler(Path(self._now.sensor_root)) if self._now.sensors else None
        self._machine = Machine(self, sampler, self._board, self._diagnostics.publish, clock())
        self._listen()
        self._decision: Decision | None = None
        self._reported_s = 0.0
        self.add_on_set_parameters_callback(self._on_set_parameters)
        # Each image is answered with a decision; the timer is for what happens without images.
        # On ROS time it would stand still until a simulation's clock runs.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self._now.decision_period_s, self._decide, clock=steady)

    def destroy_node(self) -> None:
        """Stop the sensors too."""
        if self._machine is not None:
            self._machine.stop()
        super().destroy_node()

    def _listen(self) -> None:
        prefix = f'{self._now.camera}/' if self._now.camera else ''
        sensor_data = image_qos('best_effort', 5)
        self.create_subscription(DiagnosticArray, f'{prefix}stats', self._on_stats, OUTPUT)
        self.create_subscription(BatteryState, 'battery_state', self._on_battery, sensor_data)
        self.create_subscription(Temperature, 'temperature', self._on_temperature, sensor_data)
        self.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, sensor_data
        )

    # What is told

    def _on_stats(self, message: DiagnosticArray) -> None:
        report = frame_report(message)
        self._board.frame(self._seconds(), report)
        if self._calibration is not None:
            self._calibrate(self._calibration, report)
        self._decide()

    def _on_battery(self, message: BatteryState) -> None:
        reading = battery_reading(message)
        if reading.problem:
            self.get_logger().warning(
                f'battery_state: {reading.problem}', throttle_duration_sec=SAY_AGAIN_S
            )
        self._board.battery(self._seconds(), reading)

    def _on_temperature(self, message: Temperature) -> None:
        zone, celsius = temperature_reading(message)
        if celsius is not None:
            self._board.temperature(self._seconds(), zone, celsius)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._board.jetson(self._seconds(), jetson_readings(message))

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            now = changed_controller(self._now, parameters)
        except (ValueError, TypeError) as error:
            return SetParametersResult(successful=False, reason=sentence(error))
        if any(one.name == 'mission_s' for one in parameters):
            self._mission_began_s = self._seconds()
        self._now = now
        self._retarget()
        return SetParametersResult(successful=True)

    # Decisions

    def _decide(self) -> None:
        """Decide, tell, and ask the detector if it is to change."""
        now_s = self._seconds()
        if self._machine is not None and self._machine.read(now_s):
            self._retarget()
        mode = self._board.depth_mode(now_s)
        decision = self._chosen(now_s)
        before, self._decision = self._decision, decision
        if mode == 'auto':
            self._ask(decision.level, self._board.served_level(now_s))
        else:
            self._client.forget()
        if before is None or decision.level != before.level or now_s - self._reported_s >= 1.0:
            self._reported_s = now_s
            self._publish(decision, mode)
        if self._machine is not None:
            self._machine.tell(now_s, self._now, self._targets)

    def _calibrate(self, calibration: Calibration, report: FrameReport) -> None:
        """Measure a frame; when every level was measured, store the costs and use them."""
        if report.level is None or report.latency_ms is None or report.depth_mode != 'auto':
            return
        calibration.frame(report.level, report.latency_ms)
        if calibration.level is not None:
            return
        self._calibration = None
        self._profile = calibration.profile(platform.node())
        self._controller = Controller(self._profile, self._targets)
        self._measured = True
        try:
            save_profile(self._profile, self._now.profile)
            self.get_logger().info(f'{calibration.progress()}, wrote {self._now.profile}')
        except OSError as error:
            self.get_logger().error(
                f'{calibration.progress()}, but {self._now.profile} cannot be written: '
                f'{sentence(error)}'
            )

    def _chosen(self, now_s: float) -> Decision:
        """Decide; a level that is to be measured goes before everything but safety."""
        decision = self._controller.decide(self._board.signals(now_s))
        calibration = self._calibration
        level = None if calibration is None else calibration.level
        if calibration is None or level is None or decision.authority == 'safety':
            return decision
        return Decision(level, calibration.progress(), 'calibration')

    def _ask(self, level: int, served: int | None) -> None:
        """Ask unless the detector has agreed already, and serves what it agreed to."""
        if self._client.accepted != level:
            self._client.ask(level)
        elif served is not None and served != level:
            # Set by hand in the meantime, or the detector was restarted: the decision holds.
            self._client.forget()

    def _publish(self, decision: Decision, mode: str) -> None:
        top_level = len(self._profile.levels) - 1
        state = DetectorState(mode, self._client.reachable())
        # Assumed costs are in proportion only: how far off they are says nothing.
        drift = self._controller.drift if self._measured else None
        profile = self._now.profile if self._measured else ''
        if drift is not None and not self._drift_told:
            self._drift_told = True
            self.get_logger().warning(drift_words(profile, drift))
        message = decision_message(self.get_name(), decision, top_level, state, drift, profile)
        message.header.stamp = self.get_clock().now().to_msg()
        self._decisions.publish(message)
        self._diagnostics.publish(message)

    def _retarget(self) -> None:
        trips = None if self._machine is None else self._machine.trips
        self._targets = self._now.targets(self._mission_began_s, trips)
        self._controller.set_targets(self._targets)


def _profile(now: ControllerParameters) -> Profile:
    """Load the measured costs, or begin with assumed ones.

    Raises:
        ValueError: if the profile does not fit the ladder of the bundle.
    """
    bundle = load_bundle(now.model)
    if not now.profile or now.calibrate_on_start:
        return assumed_profile(bundle)
    profile = load_profile(now.profile)
    if len(profile.levels) != len(bundle.ladder):
        raise ValueError(
            f'{now.profile} has {len(profile.levels)} levels, the ladder of {now.model} has '
            f'{len(bundle.ladder)}: measure it again'
        )
    return profile


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run_node(ControllerNode, arguments)


if __name__ == '__main__':
    raise SystemExit(main())

"""The parameters of the controller: declared, described, checked and read in this one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter

from anydepth_core.control.targets import MODES, Targets
from anydepth_core.control.zone_limits import parse_zone_limits, with_zone_limits
from anydepth_core.sensing.thermal import TripPoints
from anydepth_ros.declaration import check_options, Declaration, declared_value, plain_value

HIGHEST_LEVEL = 100  # no ladder is that long

CONTROLLER_DECLARATIONS = (
    Declaration(
        'detector', 'detector', 'name of the detector node whose depth is set', change='start'
    ),
    Declaration(
        'camera',
        '',
        'camera whose figures are followed and whose depth is set, empty for the only one',
        change='start',
    ),
    Declaration(
        'model',
        'default',
        "bundle that the detector serves, or 'default': the levels are those of its ladder",
        change='start',
    ),
    Declaration(
        'profile',
        '',
        'file with the measured cost of each level on this device; empty: relative costs are '
        'taken from the bundle and corrected while it runs',
        change='start',
    ),
    Declaration(
        'calibrate_on_start',
        False,
        'measure every level on the running detector first and store the costs in profile',
        change='start',
    ),
    Declaration(
        'calibration_frames',
        60,
        'images to measure at each level',
        limits=(10, 10000),
        change='start',
    ),
    Declaration(
        'decision_period_s',
        0.1,
        'seconds between two decisions while no image comes',
        limits=(0.01, 10.0),
        change='start',
    ),
    Declaration(
        'sensors',
        True,
        'read temperatures, power and battery of this machine',
        change='start',
    ),
    Declaration(
        'sensor_root',
        '/',
        'directory under which sys and proc are read: another one for a simulated device',
        change='start',
    ),
    Declaration(
        'signal_timeout_s',
        5.0,
        'a reading that is older counts as unknown',
        limits=(0.5, 600.0),
        change='start',
    ),
    Declaration(
        'mode',
        'deadline',
        'deadline: every frame within the target; tracking: the mean at the target, with two '
        'neighbouring levels in turn',
        options=MODES,
    ),
    Declaration(
        'deadline_ms',
        0.0,
        'time from the arrival of an image to its detections, 0 for no such target',
        limits=(0.0, 60000.0),
    ),
    Declaration(
        'rate_fps',
        0.0,
        'images answered per second, 0 for no such target',
        limits=(0.0, 1000.0),
    ),
    Declaration(
        'temperature_soft_c',
        0.0,
        'temperature of any zone to settle under, 0 for no such target',
        limits=(0.0, 150.0),
    ),
    Declaration(
        'temperature_hard_c',
        0.0,
        'temperature of any zone at which the cheapest level runs at once, 0 for no such target',
        limits=(0.0, 150.0),
    ),
    Declaration(
        'zone_limits',
        (),
        'limits of single zones, each as zone:soft:hard in degrees Celsius (gpu-thermal:80:95), '
        'soft or hard may be left empty; they go before the limits of all zones',
        dynamic=True,
    ),
    Declaration(
        'trip_points',
        True,
        'where no limit is given, stay 5 C under the temperature at which this machine throttles '
        'itself, and at the cheapest level from 10 C under the one at which it switches off',
    ),
    Declaration(
        'power_budget_w',
        0.0,
        'mean power of the machine to keep under, 0 for no such target',
        limits=(0.0, 2000.0),
    ),
    Declaration(
        'battery_reserve',
        0.0,
        'state of charge (0 to 1) that is to be left, 0 for no such target',
        limits=(0.0, 1.0),
    ),
    Declaration(
        'mission_s',
        0.0,
        'how long the battery must last from the moment this is set, 0 for no such target',
        limits=(0.0, 1e6),
    ),
    Declaration(
        'battery_wh',
        0.0,
        'energy of the full battery, 0 to learn it from power and charge',
        limits=(0.0, 1e5),
    ),
    Declaration(
        'min_level',
        0,
        'level never to go below, but for safety: the top level while docking',
        limits=(0, HIGHEST_LEVEL),
    ),
    Declaration(
        'max_level',
        HIGHEST_LEVEL,
        f'level never to go above, {HIGHEST_LEVEL} for none; it wins over min_level',
        limits=(0, HIGHEST_LEVEL),
    ),
)


@dataclass(frozen=True)
class ControllerParameters:
    """The values of all parameters at one moment; attributes have the parameters' names."""

    detector: str
    camera: str
    model: str
    profile: str
    calibrate_on_start: bool
    calibration_frames: int
    decision_period_s: float
    sensors: bool
    sensor_root: str
    signal_timeout_s: float
    mode: str
    deadline_ms: float
    rate_fps: float
    temperature_soft_c: float
    temperature_hard_c: float
    zone_limits: tuple[str, ...]
    trip_points: bool
    power_budget_w: float
    battery_reserve: float
    mission_s: float
    battery_wh: float
    min_level: int
    max_level: int

    def __post_init__(self) -> None:
        """Check what a descriptor cannot express.

        Raises:
            ValueError: if a value is not legal; the message says what is.
        """
        if self.calibrate_on_start and not self.profile:
            raise ValueError('calibrate_on_start needs profile, the file to store the costs in')
        self.targets(0.0)

    def targets(
        self, mission_began_s: float, trips: Mapping[str, TripPoints] | None = None
    ) -> Targets:
        """Return the targets of the law; 0 stands for none.

        Args:
            mission_began_s: when ``mission_s`` was set, on the clock of the signals.
            trips: trip points of this machine by zone.

        Raises:
            ValueError: if they contradict each other.
        """
        targets = Targets(
            mode=self.mode,
            deadline_ms=self.deadline_ms or None,
            rate_fps=self.rate_fps or None,
            temperature_soft_c=self.temperature_soft_c or None,
            temperature_hard_c=self.temperature_hard_c or None,
            power_budget_w=self.power_budget_w or None,
            battery_reserve=self.battery_reserve or None,
            mission_end_s=mission_began_s + self.mission_s if self.mission_s else None,
            battery_wh=self.battery_wh or None,
            min_level=self.min_level,
            max_level=None if self.max_level == HIGHEST_LEVEL else self.max_level,
        )
        used = trips if trips is not None and self.trip_points else {}
        return with_zone_limits(targets, parse_zone_limits(self.zone_limits), used)

    def zones_with_limits(self) -> list[str]:
        """Return the zones that ``zone_limits`` names."""
        return list(parse_zone_limits(self.zone_limits))

    def depth_parameter(self) -> str:
        """Return the name of the detector's parameter that is set."""
        return f'{self.camera}.depth' if self.camera else 'depth'


def declare_controller(node: Node) -> ControllerParameters:
    """Declare every parameter and read the values it was started with.

    Raises:
        ValueError: if one is not legal.
    """
    values = {one.name: declared_value(node, one) for one in CONTROLLER_DECLARATIONS}
    check_options(CONTROLLER_DECLARATIONS, values)
    return ControllerParameters(**values)


def changed_controller(
    current: ControllerParameters, changes: Iterable[Parameter]
) -> ControllerParameters:
    """Return the values after a change; parameters of others are let pass.

    Raises:
        ValueError: if the change is not legal; the message says why.
    """
    known = {one.name: one for one in CONTROLLER_DECLARATIONS}
    values: dict[str, Any] = {
        one.name: plain_value(known[one.name], one.value) for one in changes if one.name in known
    }
    check_options(CONTROLLER_DECLARATIONS, values)
    return replace(current, **values)

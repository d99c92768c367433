"""What the messages of detector, battery, thermometers and Jetson tell.

Any object with the fields of the message will do: that of a node, or that of a bag.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
import re
from typing import Any

COLDEST_C, HOTTEST_C = -60.0, 200.0  # no sensor on a robot reads beyond
_NUMBER = re.compile(r'[-+]?\d+(?:\.\d+)?')
_LONGEST_COUNT = 18  # digits; Python refuses to convert thousands of them
_TEMPERATURE, _POWER = 'jetson_stats/temp/', 'jetson_stats/power/'
_CHARGING = {1: True, 2: False, 3: False, 4: True}
"""By ``power_supply_status``: charging, discharging, not charging, full."""


@dataclass(frozen=True)
class BatteryReading:
    """What is known of a battery.

    Attributes:
        fraction: state of charge, 0 to 1; None if unknown.
        charging: whether it is on external power; None if unknown.
        problem: what is wrong with the message, '' if nothing is.
    """

    fraction: float | None
    charging: bool | None
    problem: str = ''


@dataclass(frozen=True)
class JetsonReadings:
    """What the diagnostics of isaac_ros_jetson tell.

    Attributes:
        temperatures_c: by zone.
        rails_w: power by rail.
    """

    temperatures_c: dict[str, float] = field(default_factory=dict)
    rails_w: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FrameReport:
    """What the detector's ``stats`` say of one image.

    Attributes:
        latency_ms: from the arrival of the image to its detections; None if it had none.
        level: ladder level it ran at, None if it was not on the ladder.
        depth_mode: ``manual`` or ``auto``.
        dropped: images left out since the detector was configured.
    """

    latency_ms: float | None
    level: int | None
    depth_mode: str
    dropped: int


def battery_reading(message: Any) -> BatteryReading:
    """Read a sensor_msgs/BatteryState.

    ``percentage`` is 0 to 1 by its definition and NaN if unknown (sensor_msgs/BatteryState); a
    driver that gives 0 to 100 is understood, with a problem. Without it, charge over capacity
    serves.
    """
    charging = _CHARGING.get(message.power_supply_status)
    value = float(message.percentage)
    if math.isnan(value):
        return BatteryReading(_charge_over_capacity(message), charging)
    if 0.0 <= value <= 1.0:
        return BatteryReading(value, charging)
    if 1.0 < value <= 100.0:
        problem = f'percentage {value:g} is over 1: it is taken as percent'
        return BatteryReading(value / 100, charging, problem)
    return BatteryReading(None, charging, f'percentage {value:g} is not legal: it is left out')


def temperature_reading(message: Any) -> tuple[str, float | None]:
    """Read a sensor_msgs/Temperature.

    Returns:
        The zone, and degrees Celsius; None where the message holds no temperature.
    """
    zone = message.header.frame_id or 'temperature'
    return zone, _plausible_c(float(message.temperature))


def jetson_readings(message: Any) -> JetsonReadings:
    """Read temperatures and powers from a diagnostic_msgs/DiagnosticArray of isaac_ros_jetson.

    A temperature stands in the message of its status, a power under the key ``Power``.
    """
    result = JetsonReadings()
    for status in message.status:
        if _TEMPERATURE in status.name:
            value = _plausible_c(_number(status.message))
            if value is not None:
                result.temperatures_c[status.name.rpartition(_TEMPERATURE)[2]] = value
        elif _POWER in status.name:
            text = next((pair.value for pair in status.values if pair.key == 'Power'), '')
            watts = _number(text)
            if watts is not None and 0.0 <= watts < 10e3:
                result.rails_w[status.name.rpartition(_POWER)[2]] = watts
    return result


def frame_report(message: Any) -> FrameReport:
    """Read the figures of one image from a diagnostic_msgs/DiagnosticArray on ``stats``.

    What is missing or no number is unknown.
    """
    values = {pair.key: pair.value for status in message.status for pair in status.values}
    latency_ms = _number(values.get('total_ms', ''))
    return FrameReport(
        latency_ms=latency_ms,
        level=_count(values.get('level', '')),
        depth_mode=values.get('depth_mode', ''),
        dropped=_count(values.get('dropped', '')) or 0,
    )


def _charge_over_capacity(message: Any) -> float | None:
    charge, capacity = float(message.charge), float(message.capacity)
    if not math.isfinite(charge) or not math.isfinite(capacity) or capacity <= 0:
        return None
    fraction = charge / capacity
    return fraction if 0.0 <= fraction <= 1.0 else None


def _plausible_c(value: float | None) -> float | None:
    return value if value is not None and COLDEST_C <= value <= HOTTEST_C else None


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_COUNT else None


def _number(text: str) -> float | None:
    found = _NUMBER.search(text)
    return None if found is None else float(found[0])

"""What battery, temperature and Jetson messages tell a controller; pure conversion, no node."""

from __future__ import annotations

from dataclasses import dataclass, field
import math
import re

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import BatteryState, Temperature

COLDEST_C, HOTTEST_C = -60.0, 200.0  # no sensor on a robot reads beyond
_NUMBER = re.compile(r'[-+]?\d+(?:\.\d+)?')
_TEMPERATURE, _POWER = 'jetson_stats/temp/', 'jetson_stats/power/'
_CHARGING = {
    BatteryState.POWER_SUPPLY_STATUS_CHARGING: True,
    BatteryState.POWER_SUPPLY_STATUS_FULL: True,
    BatteryState.POWER_SUPPLY_STATUS_DISCHARGING: False,
    BatteryState.POWER_SUPPLY_STATUS_NOT_CHARGING: False,
}


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


def battery_reading(message: BatteryState) -> BatteryReading:
    """Read a battery message.

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


def temperature_reading(message: Temperature) -> float | None:
    """Return degrees Celsius, None where the message holds no temperature."""
    return _plausible_c(float(message.temperature))


def jetson_readings(message: DiagnosticArray) -> JetsonReadings:
    """Read temperatures and powers from ``/diagnostics`` of isaac_ros_jetson.

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


def _charge_over_capacity(message: BatteryState) -> float | None:
    charge, capacity = float(message.charge), float(message.capacity)
    if not math.isfinite(charge) or not math.isfinite(capacity) or capacity <= 0:
        return None
    fraction = charge / capacity
    return fraction if 0.0 <= fraction <= 1.0 else None


def _plausible_c(value: float | None) -> float | None:
    return value if value is not None and COLDEST_C <= value <= HOTTEST_C else None


def _number(text: str) -> float | None:
    found = _NUMBER.search(text)
    return None if found is None else float(found[0])

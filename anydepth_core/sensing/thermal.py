"""Temperatures, by the name the kernel gives the sensor."""

from __future__ import annotations

from dataclasses import dataclass, field
import os
from pathlib import Path

from anydepth_core.sensing.stuck import StuckWatch
from anydepth_core.sensing.sysfs import find, Found, plausible, read_int, read_name

#: What a working sensor of a computer can read, in degrees Celsius.
TEMPERATURE_RANGE_C = (-60.0, 150.0)

#: The number Tegra drivers give in place of a reading while the rail is off.
_RAIL_OFF = -256

#: hwmon chips of processors that some laptops (AMD) do not show as thermal zones.
_PROCESSOR_CHIPS = ('coretemp', 'k10temp', 'zenpower', 'amdgpu')

_STUCK_AFTER_S = 300.0
_STUCK_SWING_C = 10.0


@dataclass(frozen=True)
class ThermalReading:
    """Temperatures of one moment.

    Attributes:
        temperatures_c: degrees Celsius by zone type (``gpu-thermal``, ``x86_pkg_temp``); the
            hottest where several zones share a type; without what cannot be trusted.
        problems: what is wrong with sensors that exist, in words.
        absent: what this device does not have, in words.
    """

    temperatures_c: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class Thermal:
    """Reads thermal zones and the temperature of processor chips."""

    def __init__(self, root: Path = Path('/')) -> None:
        """Read below ``root``, the root of the file system or of a copy of it."""
        self._root = root
        self._zones = Found(self._search)
        self._watch = StuckWatch(_STUCK_AFTER_S, _STUCK_SWING_C)

    def read(self, time_s: float) -> ThermalReading:
        """Read every zone.

        Args:
            time_s: the present moment on any clock.
        """
        zones = self._zones()
        if not zones:
            return ThermalReading(absent=('temperatures: no thermal zone in /sys/class/thermal',))
        temperatures: dict[str, float] = {}
        problems = []
        for name, path in zones:
            value = _celsius(read_int(path))
            if value is None:
                problems.append(f'temperature {name}: no plausible reading')
            else:
                temperatures[name] = max(value, temperatures.get(name, value))
        stuck = self._watch.update(time_s, temperatures)
        for name in sorted(stuck):
            problems.append(f'temperature {name}: stuck, unchanged while others moved')
        trusted = {name: value for name, value in temperatures.items() if name not in stuck}
        return ThermalReading(trusted, tuple(problems))

    def _search(self) -> list[tuple[str, str]]:
        zones = []
        for zone in find(self._root, 'sys/class/thermal/thermal_zone*'):
            name = read_name(os.path.join(zone, 'type'))
            if name is not None:
                zones.append((name, os.path.join(zone, 'temp')))
        for chip in find(self._root, 'sys/class/hwmon/hwmon*'):
            name = read_name(os.path.join(chip, 'name'))
            if name in _PROCESSOR_CHIPS:
                zones.append((name, os.path.join(chip, 'temp1_input')))
        return zones


def _celsius(millidegrees: int | None) -> float | None:
    if millidegrees is None or millidegrees == _RAIL_OFF:
        return None
    return plausible(millidegrees / 1000, *TEMPERATURE_RANGE_C)

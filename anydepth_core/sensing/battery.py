"""State of charge, from the kernel's power supplies or from psutil."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path

from anydepth_core.sensing.sysfs import find, Found, plausible, read_int, read_name

#: What a robot's or a laptop's battery can deliver, in watts.
BATTERY_RANGE_W = (0.0, 2000.0)

#: What such a battery can hold, in watt-hours.
BATTERY_RANGE_WH = (0.1, 100_000.0)

#: A gauge that has not been recalibrated may count a little beyond full.
_BEYOND_FULL = 1.05

#: How far the finer ratio of two counts may lie from the gauge's own percentage and be used.
_AGREEMENT = 0.02

#: Share of the pack drawn without any change of the state of charge that proves it stuck.
_STUCK_SHARE = 0.05

#: Longest step over which drawn energy is integrated, in seconds: a clock may jump.
_LONGEST_STEP_S = 60.0


@dataclass(frozen=True)
class BatteryReading:
    """Batteries of one moment, taken together.

    Attributes:
        battery: state of charge, 0..1.
        charging: True while something else feeds the device (charging, full, held at a
            threshold), False while the battery does.
        power_w: watts drawn from the battery while it feeds the device, else None.
        problems: what is wrong with sensors that exist, in words.
        absent: what this device does not have, in words.
    """

    battery: float | None = None
    charging: bool | None = None
    power_w: float | None = None
    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


Fallback = Callable[[], BatteryReading | None]


class Battery:
    """Reads the batteries that feed this device; those of mice and headsets are left out."""

    def __init__(self, root: Path = Path('/'), fallback: Fallback | None = None) -> None:
        """Read below a root.

        Args:
            root: the root of the file system or of a copy of it.
            fallback: asked where the file system shows no battery (``psutil_battery``).
        """
        self._root = root
        self._fallback = fallback
        self._batteries = Found(lambda: self._search(('Battery',)))
        self._mains = Found(lambda: self._search(('Mains', 'USB')))
        self._time_s: float | None = None
        self._last: float | None = None
        self._drawn_share = 0.0

    def read(self, time_s: float) -> BatteryReading:
        """Read every battery.

        Args:
            time_s: the present moment on any clock.
        """
        packs = [_Pack(path) for path in self._batteries() if _number(path, 'present') != 0]
        if not packs:
            return self._without_files()
        battery = _charge_of_all(packs)
        charging = self._charging([pack.status for pack in packs])
        feeding = [pack.power_w for pack in packs if pack.status == 'Discharging']
        power_w = _sum(feeding)
        problems = []
        if battery is None:
            problems.append('battery: no plausible state of charge')
        elif self._stuck(time_s, battery, power_w, _sum([pack.full_wh for pack in packs])):
            problems.append('battery: stuck, unchanged while energy was drawn')
            battery = None
        return BatteryReading(battery, charging, power_w, tuple(problems))

    def _without_files(self) -> BatteryReading:
        reading = self._fallback() if self._fallback is not None else None
        return reading or BatteryReading(absent=('battery: none in /sys/class/power_supply',))

    def _charging(self, states: list[str | None]) -> bool | None:
        if 'Discharging' in states:
            return False
        if any(state in ('Charging', 'Full', 'Not charging') for state in states):
            return True
        return True if any(_number(path, 'online') == 1 for path in self._mains()) else None

    def _stuck(
        self, time_s: float, battery: float, power_w: float | None, full_wh: float | None
    ) -> bool:
        """Integrate what was drawn since the state of charge last changed."""
        step_s = time_s - self._time_s if self._time_s is not None else 0.0
        self._time_s = time_s
        if battery != self._last or not power_w or not full_wh:
            self._last = battery
            self._drawn_share = 0.0
        elif 0 < step_s <= _LONGEST_STEP_S:
            self._drawn_share += power_w * step_s / 3600 / full_wh
        return self._drawn_share > _STUCK_SHARE

    def _search(self, kinds: tuple[str, ...]) -> list[str]:
        return [
            path
            for path in find(self._root, 'sys/class/power_supply/*')
            if read_name(os.path.join(path, 'type')) in kinds
            and read_name(os.path.join(path, 'scope')) != 'Device'
        ]


class _Pack:
    """One battery: its files in SI units (they hold millionths), None for what is not given."""

    def __init__(self, path: str) -> None:
        self.status = read_name(os.path.join(path, 'status'))
        volts = _micro(path, 'voltage_now')
        full_wh = _first(_micro(path, 'energy_full'), _product(_micro(path, 'charge_full'), volts))
        self.full_wh = plausible(full_wh, *BATTERY_RANGE_WH)
        amperes = _micro(path, 'current_now')
        watts = _first(_micro(path, 'power_now'), _product(amperes, volts))
        # Drivers differ on the sign of what flows out, and zero means they do not measure it.
        self.power_w = plausible(abs(watts), *BATTERY_RANGE_W) if watts else None
        self.charge = _charge(
            _number(path, 'capacity'),
            _first(
                _ratio(_micro(path, 'energy_now'), self.full_wh),
                _ratio(_micro(path, 'charge_now'), _micro(path, 'charge_full')),
            ),
        )


def psutil_battery() -> BatteryReading | None:
    """Ask psutil, which also knows other systems than Linux.

    Returns:
        The reading; None without psutil or without a battery.
    """
    try:
        import psutil
    except ImportError:
        return None
    ask = getattr(psutil, 'sensors_battery', None)
    answer = ask() if ask is not None else None
    if answer is None:
        return None
    battery = plausible(answer.percent / 100, 0.0, 1.0)
    return BatteryReading(battery, answer.power_plugged)


def _charge(percent: int | None, ratio: float | None) -> float | None:
    """Choose between the gauge's whole percentage and the finer ratio of two counts, 0..1."""
    ratio = plausible(ratio, 0.0, _BEYOND_FULL)
    capacity = plausible(None if percent is None else percent / 100, 0.0, _BEYOND_FULL)
    if capacity is not None and (ratio is None or abs(ratio - capacity) > _AGREEMENT):
        ratio = capacity
    return None if ratio is None else min(ratio, 1.0)


def _charge_of_all(packs: list[_Pack]) -> float | None:
    """Weigh packs by their energy where all of them say it, else equally."""
    charges = [pack.charge for pack in packs if pack.charge is not None]
    if len(charges) < len(packs):
        return None
    full_wh = [pack.full_wh for pack in packs if pack.full_wh is not None]
    weights = full_wh if len(full_wh) == len(packs) else [1.0] * len(packs)
    return sum(c * w for c, w in zip(charges, weights)) / sum(weights)


def _number(path: str, name: str) -> int | None:
    return read_int(os.path.join(path, name))


def _micro(path: str, name: str) -> float | None:
    value = _number(path, name)
    return None if value is None else value / 1e6


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None or whole <= 0 else part / whole


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None

"""Power rails of a Jetson (INA3221) and its over-current alarms."""

from __future__ import annotations

from dataclasses import dataclass, field
import os
from pathlib import Path

from anydepth_core.sensing.stuck import StuckWatch
from anydepth_core.sensing.sysfs import Counters, find, Found, plausible, read_int, read_name

#: Rails that feed the whole module; where one exists it is the total.
TOTAL_RAILS = ('VDD_IN', 'POM_5V_IN')

#: What one rail of a robot's computer can draw, in watts.
RAIL_RANGE_W = (0.0, 1000.0)

#: Bus voltage in mV and current in mA; amplifiers at rest read slightly below zero.
_VOLTAGE_RANGE_MV = (0.0, 100_000.0)
_CURRENT_RANGE_MA = (-200.0, 200_000.0)

_STUCK_AFTER_S = 300.0
_STUCK_SWING_W = 2.0


@dataclass(frozen=True)
class Rail:
    """One measured channel: its label and the files of voltage (mV) and current (mA)."""

    label: str
    voltage: str
    current: str


@dataclass(frozen=True)
class PowerReading:
    """Power of one moment.

    Attributes:
        has_rails: whether the device measures rails at all.
        rails_w: watts by rail label, without what cannot be trusted.
        power_w: watts of the whole module; None where the total rail, or any rail of the sum, is
            missing, because a part taken for the whole would hide an overload.
        over_current: whether an over-current event was counted since the reading before, or an
            alarm is raised; None where the device has neither or it cannot be told yet.
        problems: what is wrong with sensors that exist, in words.
        absent: what this device does not have, in words.
    """

    has_rails: bool = False
    rails_w: dict[str, float] = field(default_factory=dict)
    power_w: float | None = None
    over_current: bool | None = None
    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class Power:
    """Reads the rails and alarms of INA3221 monitors and the over-current counters."""

    def __init__(self, root: Path = Path('/'), hold_s: float = 0.0) -> None:
        """Read below a root.

        Args:
            root: the root of the file system or of a copy of it.
            hold_s: seconds for which an over-current event stays visible, so that a consumer
                that looks less often than this class reads does not miss it.
        """
        self._root = root
        self._hold_s = hold_s
        self._rails = Found(self._search_rails)
        self._alarms = Found(lambda: find(root, 'sys/class/hwmon/hwmon*/curr*_crit_alarm'))
        self._counts = Found(lambda: find(root, 'sys/class/hwmon/hwmon*/oc*_event_cnt'))
        self._counters = Counters()
        self._event_s: float | None = None
        self._watch = StuckWatch(_STUCK_AFTER_S, _STUCK_SWING_W)

    def read(self, time_s: float) -> PowerReading:
        """Read every rail, alarm and counter.

        Args:
            time_s: the present moment on any clock.
        """
        rails = self._rails()
        alarms, counts = self._alarms(), self._counts()
        absent = []
        if not rails:
            absent.append('power rails: no INA3221 in /sys/class/hwmon')
        if not alarms and not counts:
            absent.append('over-current: no alarm or event counter in /sys/class/hwmon')
        rails_w, problems = self._read_rails(rails, time_s)
        return PowerReading(
            has_rails=bool(rails),
            rails_w=rails_w,
            power_w=_total({rail.label for rail in rails}, rails_w),
            over_current=self._over_current(alarms, counts, time_s),
            problems=problems,
            absent=tuple(absent),
        )

    def _read_rails(
        self, rails: list[Rail], time_s: float
    ) -> tuple[dict[str, float], tuple[str, ...]]:
        watts: dict[str, float] = {}
        problems = []
        for rail in rails:
            value = _watts(read_int(rail.voltage), read_int(rail.current))
            if value is None:
                problems.append(f'power rail {rail.label}: no plausible reading')
            else:
                watts[rail.label] = value
        # A rail that feeds nothing reads zero for ever and is right.
        fed = {label: value for label, value in watts.items() if value > 0}
        for label in sorted(self._watch.update(time_s, fed)):
            problems.append(f'power rail {label}: stuck, unchanged while others moved')
            del watts[label]
        return watts, tuple(problems)

    def _over_current(self, alarms: list[str], counts: list[str], time_s: float) -> bool | None:
        rose = self._counters.rose(counts)
        states = [state for path in alarms if (state := read_int(path)) in (0, 1)]
        if rose or 1 in states:
            self._event_s = time_s
            return True
        if self._event_s is not None and 0 <= time_s - self._event_s < self._hold_s:
            return True
        return None if rose is None and not states else False

    def _search_rails(self) -> list[Rail]:
        rails = []
        for chip in find(self._root, 'sys/class/hwmon/hwmon*'):
            # Channels above 3 are shunt voltages and their sum (7), not rails.
            if read_name(os.path.join(chip, 'name')) == 'ina3221':
                for n in (1, 2, 3):
                    files = (f'in{n}_label', f'in{n}_input', f'curr{n}_input')
                    rails.append(_rail(chip, *files))
        for chip in find(self._root, 'sys/bus/i2c/drivers/ina3221x/*/iio:device*'):
            # The older kernels of the first Jetson Nano and TX2.
            for n in (0, 1, 2):
                files = (f'rail_name_{n}', f'in_voltage{n}_input', f'in_current{n}_input')
                rails.append(_rail(chip, *files))
        return [rail for rail in rails if rail is not None]


def _rail(chip: str, label: str, voltage: str, current: str) -> Rail | None:
    """Describe a channel; None if it has no label or is not connected."""
    name = read_name(os.path.join(chip, label))
    if name is None or name.upper() == 'NC':
        return None
    return Rail(name, os.path.join(chip, voltage), os.path.join(chip, current))


def _watts(millivolts: int | None, milliamperes: int | None) -> float | None:
    voltage = plausible(millivolts, *_VOLTAGE_RANGE_MV)
    current = plausible(milliamperes, *_CURRENT_RANGE_MA)
    if voltage is None or current is None:
        return None
    return plausible(voltage * max(current, 0.0) / 1e6, *RAIL_RANGE_W)


def _total(labels: set[str], rails_w: dict[str, float]) -> float | None:
    for label in TOTAL_RAILS:
        if label in labels:
            return rails_w.get(label)
    return sum(rails_w.values()) if labels and labels == set(rails_w) else None

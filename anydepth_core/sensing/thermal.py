"""Temperatures and trip points, by the name the kernel gives the sensor."""

from __future__ import annotations

from collections.abc import Iterable
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

#: Where a trip point can be, in degrees Celsius: below it is a number that means "none".
TRIP_RANGE_C = (40.0, 130.0)

#: Kinds of trip points at which the kernel slows the processors. ``active`` ones switch fans.
_THROTTLING = ('passive',)
#: Kinds at which it warns and then switches the device off.
_FATAL = ('hot', 'critical')

_STUCK_AFTER_S = 300.0
_STUCK_SWING_C = 10.0


@dataclass(frozen=True)
class TripPoints:
    """Where the device itself acts on the temperature of a zone.

    Attributes:
        throttle_c: lowest temperature at which it slows its processors; None if unknown.
        shutdown_c: lowest at which it gives up and switches off; None if unknown.
    """

    throttle_c: float | None = None
    shutdown_c: float | None = None


@dataclass(frozen=True)
class ThermalReading:
    """Temperatures of one moment.

    Attributes:
        temperatures_c: degrees Celsius by zone type (``gpu-thermal``, ``x86_pkg_temp``); the
            hottest where several zones share a type; without what cannot be trusted.
        trip_points: of those zones that have plausible ones.
        problems: what is wrong with sensors that exist, in words.
        absent: what this device does not have, in words.
    """

    temperatures_c: dict[str, float] = field(default_factory=dict)
    trip_points: dict[str, TripPoints] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class Thermal:
    """Reads thermal zones and the temperature of processor chips."""

    def __init__(self, root: Path = Path('/')) -> None:
        """Read below ``root``, the root of the file system or of a copy of it."""
        self._root = root
        self._zones = Found(self._search)
        self._trip_points = Found(self._search_trip_points)
        self._seen: set[str] = set()
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
        for name, path in zones:
            value = _celsius(read_int(path))
            if value is not None:
                temperatures[name] = max(value, temperatures.get(name, value))
        self._seen.update(temperatures)
        silent = {name for name, _ in zones} - set(temperatures)
        # Jetsons have zones for parts that are switched off as long as nothing uses them.
        never = silent - self._seen
        stuck = self._watch.update(time_s, temperatures)
        return ThermalReading(
            temperatures_c={name: c for name, c in temperatures.items() if name not in stuck},
            trip_points=self._trip_points(),
            problems=(
                *_told(silent - never, 'no plausible reading'),
                *_told(stuck, 'stuck, unchanged while others moved'),
            ),
            absent=_told(never, 'no reading so far'),
        )

    def _search(self) -> list[tuple[str, str]]:
        zones = [(name, os.path.join(folder, 'temp')) for name, folder in self._folders()]
        for chip in find(self._root, 'sys/class/hwmon/hwmon*'):
            name = read_name(os.path.join(chip, 'name'))
            if name in _PROCESSOR_CHIPS:
                zones.append((name, os.path.join(chip, 'temp1_input')))
        return zones

    def _search_trip_points(self) -> dict[str, TripPoints]:
        """Read the trip points: they seldom change, so not with every reading."""
        trips: dict[str, list[tuple[str | None, float]]] = {}
        for name, folder in self._folders():
            trips.setdefault(name, []).extend(_trips(folder))
        points = {
            name: TripPoints(_lowest(found, _THROTTLING), _lowest(found, _FATAL))
            for name, found in trips.items()
        }
        return {name: one for name, one in points.items() if one != TripPoints()}

    def _folders(self) -> list[tuple[str, str]]:
        """List the thermal zones that have a name."""
        folders = find(self._root, 'sys/class/thermal/thermal_zone*')
        names = [(read_name(os.path.join(folder, 'type')), folder) for folder in folders]
        return [(name, folder) for name, folder in names if name is not None]


def _told(zones: set[str], words: str) -> tuple[str, ...]:
    return tuple(f'temperature {zone}: {words}' for zone in sorted(zones))


def _trips(zone: str) -> list[tuple[str | None, float]]:
    """Read kind and temperature of each plausible trip point of a zone's folder."""
    trips = []
    for path in find(Path(zone), 'trip_point_*_temp'):
        millidegrees = read_int(path)
        celsius = None if millidegrees is None else plausible(millidegrees / 1000, *TRIP_RANGE_C)
        if celsius is not None:
            trips.append((read_name(f'{path.removesuffix("temp")}type'), celsius))
    return trips


def _lowest(trips: Iterable[tuple[str | None, float]], kinds: tuple[str, ...]) -> float | None:
    return min((celsius for kind, celsius in trips if kind in kinds), default=None)


def _celsius(millidegrees: int | None) -> float | None:
    if millidegrees is None or millidegrees == _RAIL_OFF:
        return None
    return plausible(millidegrees / 1000, *TEMPERATURE_RANGE_C)

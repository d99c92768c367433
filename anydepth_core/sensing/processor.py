"""How busy the processors are, and whether something holds them back."""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import re

from anydepth_core.sensing.sysfs import (
    Counters,
    find,
    Found,
    plausible,
    read_int,
    read_name,
    read_text,
)

#: Where kernels and generations of Jetson put the load of the GPU, with the value of a full one.
_GPU_LOADS = (
    ('sys/devices/platform/*gpu*/load', 1000),
    ('sys/devices/platform/bus@0/*gpu*/load', 1000),
    ('sys/devices/platform/*.g[abpv]1*b/load', 1000),
    ('sys/devices/gpu.0/load', 1000),
    ('sys/class/drm/card*/device/gpu_busy_percent', 100),
)

#: Cooling devices that slow a processor; fans, screens and radios cool too and cost no speed.
_SLOWING = re.compile('cpu|gpu|proc|devfreq|throttle|balanced|powerclamp', re.IGNORECASE)
_FAN = re.compile('fan', re.IGNORECASE)

#: user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already.
_IDLE_FIELDS = slice(3, 5)
_STAT = re.compile(r'cpu((?: +[0-9]{1,18}){8})')


@dataclass(frozen=True)
class ProcessorReading:
    """Load of one moment.

    Attributes:
        gpu_load: share of time the GPU is busy, 0..1.
        cpu_load: share of time all processors together were busy since the reading before, 0..1.
        throttled: whether heat or current holds a processor back now.
        cpu_cap: clock the system allows now over the highest the hardware has, 0..1, of the most
            limited cluster. Power modes change it too, and with it what each level costs.
        problems: what is wrong with sensors that exist, in words.
        absent: what this device does not have, in words.
    """

    gpu_load: float | None = None
    cpu_load: float | None = None
    throttled: bool | None = None
    cpu_cap: float | None = None
    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class Processor:
    """Reads GPU and CPU load, clock caps and cooling devices."""

    def __init__(self, root: Path = Path('/')) -> None:
        """Read below ``root``, the root of the file system or of a copy of it."""
        self._root = root
        self._stat = os.path.join(root, 'proc/stat')
        self._gpus = Found(self._search_gpus)
        self._caps = Found(self._search_caps)
        self._coolers = Found(self._search_coolers)
        self._throttles = Found(
            lambda: find(root, 'sys/devices/system/cpu/cpu0/thermal_throttle/*_throttle_count')
        )
        self._counters = Counters()
        self._jiffies: tuple[int, int] | None = None
        self._highest_cap: float | None = None

    def read(self, time_s: float) -> ProcessorReading:
        """Read load, caps and cooling devices.

        Args:
            time_s: the present moment on any clock; what is read here keeps its own time.
        """
        gpus = self._gpus()
        loads = [plausible(_share(path, full), 0.0, 1.0) for path, full in gpus]
        known = [load for load in loads if load is not None]
        problems = []
        if gpus and not known:
            problems.append('gpu load: no plausible reading')
        cpu_load, cpu_problems = self._cpu_load()
        cap = self._cap()
        return ProcessorReading(
            gpu_load=max(known, default=None),
            cpu_load=cpu_load,
            throttled=self._throttled(cap),
            cpu_cap=cap,
            problems=(*problems, *cpu_problems),
            absent=() if gpus else ('gpu load: no known file',),
        )

    def _cpu_load(self) -> tuple[float | None, tuple[str, ...]]:
        """Compare the counts of all and of busy jiffies with those of the reading before."""
        fields = _STAT.match(read_text(self._stat) or '')
        if fields is None:
            self._jiffies = None
            return None, ('cpu load: /proc/stat cannot be used',)
        counts = [int(count) for count in fields[1].split()]
        total, busy = sum(counts), sum(counts) - sum(counts[_IDLE_FIELDS])
        before, self._jiffies = self._jiffies, (total, busy)
        if before is None or total <= before[0]:
            return None, ()
        # Waiting for a disk is counted carelessly and may run backwards.
        return min(max((busy - before[1]) / (total - before[0]), 0.0), 1.0), ()

    def _cap(self) -> float | None:
        caps = [plausible(_share(path, full), 0.01, 1.0) for path, full in self._caps()]
        return min((cap for cap in caps if cap is not None), default=None)

    def _throttled(self, cap: float | None) -> bool | None:
        """Ask the cooling devices; only without any, take a cap that fell for throttling.

        A lower cap alone proves little: choosing a smaller power mode lowers it as well.
        """
        rose = self._counters.rose(self._throttles())
        states = [read_int(path) for path in self._coolers()]
        known = [state for state in states if state is not None]
        if rose or any(state > 0 for state in known):
            return True
        if known or rose is not None:
            return False
        if cap is None:
            return None
        self._highest_cap = max(cap, self._highest_cap or cap)
        return cap < self._highest_cap

    def _search_gpus(self) -> list[tuple[str, int]]:
        return [(path, full) for pattern, full in _GPU_LOADS for path in find(self._root, pattern)]

    def _search_caps(self) -> list[tuple[str, int]]:
        """List the files of the present cap with the clock of the hardware, by cluster."""
        folders = find(self._root, 'sys/devices/system/cpu/cpufreq/policy*')
        folders = folders or find(self._root, 'sys/devices/system/cpu/cpu*/cpufreq')
        clocks = [(folder, read_int(f'{folder}/cpuinfo_max_freq')) for folder in folders]
        return [(f'{folder}/scaling_max_freq', clock) for folder, clock in clocks if clock]

    def _search_coolers(self) -> list[str]:
        folders = find(self._root, 'sys/class/thermal/cooling_device*')
        names = [(folder, read_name(f'{folder}/type') or '') for folder in folders]
        return [
            f'{folder}/cur_state'
            for folder, name in names
            if _SLOWING.search(name) and not _FAN.search(name)
        ]


def _share(path: str, full: int) -> float | None:
    value = read_int(path)
    return None if value is None else value / full

"""The newest state of the device, kept by low-rate threads.

Each group of sensors (thermal, power, battery, processor) has its own thread. Reading a Jetson's
power monitor sometimes stalls, and so do the embedded controllers of laptops; a group that blocks
holds up neither the caller nor the other groups. After ``stale_s`` without an answer all values
of that group become unknown (never the last ones seen) and ``problems`` names it; when the driver
answers again the values return by themselves. Within a group a blocked file holds up the others.
The threads are daemons: a blocked one does not keep the process alive, and ``stop`` does not wait
for it longer than it is told to.
"""

from __future__ import annotations

from dataclasses import dataclass
import logging
from pathlib import Path
import time
from types import TracebackType

from anydepth_core.sensing.battery import Battery, BatteryReading, psutil_battery
from anydepth_core.sensing.power import Power, PowerReading
from anydepth_core.sensing.processor import Processor, ProcessorReading
from anydepth_core.sensing.sample import combine, Sample
from anydepth_core.sensing.thermal import Thermal, ThermalReading
from anydepth_core.sensing.worker import Clock, Source, Worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SamplerSettings:
    """How often to look, and for how long a look is worth something."""

    period_s: float = 1.0
    """Seconds between two readings of a group."""
    stale_s: float = 5.0
    """Age in seconds from which the values of a group are unknown."""
    hold_s: float = 2.0
    """Seconds for which an over-current event stays visible, so that no poll misses it."""

    def __post_init__(self) -> None:
        """Check the times.

        Raises:
            ValueError: if a time is not legal.
        """
        if not 0.1 <= self.period_s <= 60:
            raise ValueError(f'period_s is {self.period_s}, it must be from 0.1 to 60')
        if not self.stale_s > self.period_s:
            raise ValueError(f'stale_s is {self.stale_s}, it must be above {self.period_s}')
        if not self.hold_s >= 0:
            raise ValueError(f'hold_s is {self.hold_s}, it must not be negative')


@dataclass(frozen=True)
class Sources:
    """The four groups of sensors of one device."""

    thermal: Source[ThermalReading]
    power: Source[PowerReading]
    battery: Source[BatteryReading]
    processor: Source[ProcessorReading]

    @classmethod
    def under(cls, root: Path, hold_s: float = 0.0) -> Sources:
        """Use the sensors below a root; psutil knows only this machine, so only for its root."""
        fallback = psutil_battery if root == Path('/') else None
        return cls(Thermal(root), Power(root, hold_s), Battery(root, fallback), Processor(root))


class Sampler:
    """Keeps the newest sample; ``newest`` never blocks and never raises.

    A sampler runs once: after ``stop`` make a new one. It is a context manager.
    """

    def __init__(
        self,
        sources: Sources,
        settings: SamplerSettings = SamplerSettings(),
        clock: Clock = time.monotonic,
    ) -> None:
        """Prepare the threads; ``start`` starts them.

        Args:
            sources: what to read (``sampler_of`` takes a root directory instead).
            settings: periods.
            clock: seconds, monotonic.
        """
        self._settings = settings
        self._clock = clock
        period_s = settings.period_s
        self._thermal = Worker('thermal', sources.thermal, period_s, clock)
        self._power = Worker('power', sources.power, period_s, clock)
        self._battery = Worker('battery', sources.battery, period_s, clock)
        self._processor = Worker('processor', sources.processor, period_s, clock)
        self._workers = (self._thermal, self._power, self._battery, self._processor)

    def start(self) -> None:
        """Start reading.

        Raises:
            RuntimeError: if it was started before.
        """
        for worker in self._workers:
            worker.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """End reading; calling it twice or without ``start`` is harmless.

        Args:
            timeout_s: longest wait for each thread; one that is blocked is left behind.
        """
        for worker in self._workers:
            worker.request_stop()
        for worker in self._workers:
            if not worker.join(timeout_s):
                logger.warning('%s: still blocked in a driver, left behind', worker.name)

    def read_once(self) -> Sample:
        """Read every group now on the calling thread, for use without ``start``.

        A sensor that blocks blocks this call.
        """
        for worker in self._workers:
            worker.step()
        return self.newest()

    def newest(self) -> Sample:
        """Put the newest readings together; what has no fresh reading is unknown."""
        stale_s = self._settings.stale_s
        thermal, thermal_problems = self._thermal.newest(stale_s)
        power, power_problems = self._power.newest(stale_s)
        battery, battery_problems = self._battery.newest(stale_s)
        processor, processor_problems = self._processor.newest(stale_s)
        return combine(
            self._clock(),
            thermal or ThermalReading(),
            # A group that fails may well have rails: its total must not turn into the battery's.
            power or PowerReading(has_rails=bool(power_problems)),
            battery or BatteryReading(),
            processor or ProcessorReading(),
            (*thermal_problems, *power_problems, *battery_problems, *processor_problems),
        )

    def __enter__(self) -> Sampler:
        """Start reading."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End reading."""
        self.stop()


def sampler_of(
    root: Path = Path('/'),
    settings: SamplerSettings = SamplerSettings(),
    clock: Clock = time.monotonic,
) -> Sampler:
    """Make a sampler of all sensors below a root directory.

    Args:
        root: ``/`` for this machine; another directory for a copy or a fake of its files.
        settings: periods.
        clock: seconds, monotonic.
    """
    return Sampler(Sources.under(root, settings.hold_s), settings, clock)

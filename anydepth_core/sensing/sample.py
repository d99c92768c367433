"""Everything the device says about itself at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from anydepth_core.sensing.battery import BatteryReading
from anydepth_core.sensing.power import PowerReading
from anydepth_core.sensing.processor import ProcessorReading
from anydepth_core.sensing.thermal import ThermalReading, TripPoints


@dataclass(frozen=True)
class Sample:
    """One look at the device; None and missing keys mean unknown, never zero.

    Attributes:
        time_s: when it was put together, on the sampler's clock.
        temperatures_c: degrees Celsius by zone type.
        rails_w: watts by rail label.
        power_w: watts of the module where it is measured, else drawn from the battery.
        battery: state of charge, 0..1.
        charging: True while something else than the battery feeds the device.
        over_current: whether an over-current event happened just now.
        gpu_load: share of time the GPU is busy, 0..1.
        cpu_load: share of time all processors together are busy, 0..1.
        throttled: whether heat or current holds a processor back.
        problems: what is wrong with sensors that exist, in words.
        cpu_cap: clock the system allows the processors over the highest they have, 0..1.
        trip_points: where the device itself acts on a temperature, by zone type.
        absent: what this device does not have, in words.
    """

    time_s: float
    temperatures_c: dict[str, float] = field(default_factory=dict)
    rails_w: dict[str, float] = field(default_factory=dict)
    power_w: float | None = None
    battery: float | None = None
    charging: bool | None = None
    over_current: bool | None = None
    gpu_load: float | None = None
    cpu_load: float | None = None
    throttled: bool | None = None
    problems: tuple[str, ...] = ()
    cpu_cap: float | None = None
    trip_points: dict[str, TripPoints] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


def combine(
    time_s: float,
    thermal: ThermalReading,
    power: PowerReading,
    battery: BatteryReading,
    processor: ProcessorReading,
    problems: tuple[str, ...] = (),
) -> Sample:
    """Put the readings of one moment together.

    Args:
        time_s: the moment.
        thermal: temperatures.
        power: rails and alarms; where there are rails, the battery's power is not used instead of
            an unknown total, because a robot's battery feeds its motors too.
        battery: state of charge.
        processor: load and caps.
        problems: what is wrong beyond the problems of the readings.
    """
    return Sample(
        time_s=time_s,
        temperatures_c=dict(thermal.temperatures_c),
        rails_w=dict(power.rails_w),
        power_w=power.power_w if power.has_rails else battery.power_w,
        battery=battery.battery,
        charging=battery.charging,
        over_current=power.over_current,
        gpu_load=processor.gpu_load,
        cpu_load=processor.cpu_load,
        throttled=processor.throttled,
        cpu_cap=processor.cpu_cap,
        trip_points=thermal.trip_points,
        absent=(*thermal.absent, *power.absent, *battery.absent, *processor.absent),
        problems=(
            *thermal.problems,
            *power.problems,
            *battery.problems,
            *processor.problems,
            *problems,
        ),
    )

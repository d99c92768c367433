"""A simulated robot computer: latency, heat, battery and sensors answer to the level it runs.

Everything follows from a seed, so a closed loop can be repeated and policies be compared on the
same noise. Physics are first order and meant to be hard in the right places, not to be a twin of
one board.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
import math
from typing import Any

import numpy as np

from anydepth_core.control.profile import Profile
from anydepth_core.control.signals import Signals

ZONE = 'gpu'


@dataclass(frozen=True)
class Thermal:
    """First-order heating of one zone, and the clock that falls when it is hot.

    Attributes:
        ambient_c: temperature without power, in degrees Celsius.
        resistance_c_per_w: rise at rest per watt.
        time_constant_s: seconds to 63 % of a change.
        throttle_c: above this the clock falls.
        throttle_per_c: share of the clock lost per degree.
        clock_floor: lowest share of the clock.
    """

    ambient_c: float = 30.0
    resistance_c_per_w: float = 2.0
    time_constant_s: float = 90.0
    throttle_c: float = 84.0
    throttle_per_c: float = 0.04
    clock_floor: float = 0.4

    def after(self, temperature_c: float, power_w: float, seconds: float) -> float:
        """Return the temperature after some seconds at a constant power."""
        rest = self.ambient_c + self.resistance_c_per_w * power_w
        return rest + (temperature_c - rest) * math.exp(-seconds / self.time_constant_s)

    def clock(self, temperature_c: float) -> float:
        """Return the share of the full clock at a temperature, ``clock_floor`` to 1."""
        lost = self.throttle_per_c * max(temperature_c - self.throttle_c, 0.0)
        return max(1.0 - lost, self.clock_floor)


@dataclass(frozen=True)
class Battery:
    """A battery with an inner resistance: its voltage sags under load.

    Attributes:
        capacity_wh: energy when full, in watt hours.
        charge: state of charge at the start, 0..1.
        full_v: voltage at rest when full.
        empty_v: voltage at rest when empty.
        resistance_ohm: inner resistance.
    """

    capacity_wh: float = 12.0
    charge: float = 0.8
    full_v: float = 12.6
    empty_v: float = 9.0
    resistance_ohm: float = 0.03

    def rest_v(self, charge: float) -> float:
        """Return the voltage without load."""
        return self.empty_v + (self.full_v - self.empty_v) * charge

    def loaded_v(self, charge: float, power_w: float) -> float:
        """Return the voltage at the terminals under a load in watts."""
        rest = self.rest_v(charge)
        inside = max(rest**2 - 4.0 * self.resistance_ohm * power_w, 0.0)
        return (rest + math.sqrt(inside)) / 2.0

    def after(self, charge: float, power_w: float, seconds: float) -> float:
        """Return the charge after some seconds at a constant load, losses included."""
        current = power_w / self.loaded_v(charge, power_w)
        drawn_wh = self.rest_v(charge) * current * seconds / 3600.0
        return max(charge - drawn_wh / self.capacity_wh, 0.0)

    def reading(self, charge: float, power_w: float) -> float:
        """Return the charge that a gauge reads off the sagging voltage, in whole percent."""
        voltage = self.loaded_v(charge, power_w)
        share = (voltage - self.empty_v) / (self.full_v - self.empty_v)
        return min(max(round(share, 2), 0.0), 1.0)

    def sustainable_w(self, end_charge: float, seconds: float) -> float:
        """Return the constant load that takes the charge from the start to ``end_charge``."""
        middle_v = self.rest_v((self.charge + end_charge) / 2.0)
        drain_w = (self.charge - end_charge) * self.capacity_wh * 3600.0 / seconds
        current = drain_w / middle_v
        return drain_w - self.resistance_ohm * current**2


@dataclass(frozen=True)
class Burst:
    """Other work on the machine: latency times ``factor`` from ``start_s`` to ``end_s``."""

    start_s: float
    end_s: float
    factor: float


@dataclass(frozen=True)
class Device:
    """What the machine really does.

    Attributes:
        profile: true median latency, energy above idle and AP of every level.
        rate_hz: images that arrive per second.
        noise: spread of the latency (standard deviation of its logarithm), 0.03 to 0.10.
        idle_w: power besides the frames.
        thermal: heating and throttling.
        battery: the battery.
        bursts: contention.
        slowdowns: (second, factor) pairs: from then on the clocks give ``factor`` of the latency,
            as after a change of the power mode.
    """

    profile: Profile
    rate_hz: float = 10.0
    noise: float = 0.05
    idle_w: float = 5.0
    thermal: Thermal = field(default_factory=Thermal)
    battery: Battery = field(default_factory=Battery)
    bursts: tuple[Burst, ...] = ()
    slowdowns: tuple[tuple[float, float], ...] = ()

    def slowness(self, time_s: float) -> float:
        """Return the factor that contention and power modes put on the latency."""
        factor = 1.0
        for start, value in self.slowdowns:
            if time_s >= start:
                factor = value
        for burst in self.bursts:
            if burst.start_s <= time_s < burst.end_s:
                factor *= burst.factor
        return factor


@dataclass(frozen=True)
class Frame:
    """The truth about one processed frame.

    Attributes:
        start_s: when it began.
        duration_s: until the next one begins.
        level: what ran.
        latency_ms: how long it took.
        energy_j: energy above idle.
        power_w: mean power until the next frame.
        temperature_c: at its end.
        clock: share of the full clock at its start.
        charge: state of charge at its end, 0..1.
    """

    start_s: float
    duration_s: float
    level: int
    latency_ms: float
    energy_j: float
    power_w: float
    temperature_c: float
    clock: float
    charge: float


class Plant:
    """The machine's state, advanced frame by frame.

    The newest image wins: a frame that takes longer than the period of the images is followed at
    once by the newest one, and those between are lost.
    """

    def __init__(self, device: Device, seed: int) -> None:
        """Start cool (at rest at idle power) with the battery's first charge."""
        thermal = device.thermal
        self._device = device
        self._noise = np.random.default_rng(seed)
        self._time_s = 0.0
        self._temperature_c = thermal.ambient_c + thermal.resistance_c_per_w * device.idle_w
        self._charge = device.battery.charge

    def step(self, level: int) -> Frame:
        """Process one frame at a level.

        Raises:
            ValueError: if the level is not on the ladder.
        """
        device = self._device
        if not 0 <= level < len(device.profile.levels):
            raise ValueError(f'level {level} is not among {len(device.profile.levels)} levels')
        truth = device.profile.levels[level]
        clock = device.thermal.clock(self._temperature_c)
        wobble = math.exp(device.noise * float(self._noise.standard_normal()))
        latency_s = truth.latency_ms / 1000.0 / clock * device.slowness(self._time_s) * wobble
        duration_s = max(1.0 / device.rate_hz, latency_s)
        # Voltage falls with the clock, so a throttled frame is slower and cheaper.
        energy_j = (truth.energy_j or 0.0) * clock
        power_w = device.idle_w + energy_j / duration_s
        start_s = self._time_s
        self._advance(power_w, duration_s)
        return Frame(
            start_s=start_s,
            duration_s=duration_s,
            level=level,
            latency_ms=latency_s * 1000.0,
            energy_j=energy_j,
            power_w=power_w,
            temperature_c=self._temperature_c,
            clock=clock,
            charge=self._charge,
        )

    def _advance(self, power_w: float, seconds: float) -> None:
        device = self._device
        self._time_s += seconds
        self._temperature_c = device.thermal.after(self._temperature_c, power_w, seconds)
        self._charge = device.battery.after(self._charge, power_w, seconds)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one signal for a while.

    Attributes:
        signal: name of a field of :class:`Signals`.
        kind: ``missing`` (None, or no zone), ``nan``, ``stuck`` (the value at the start stays),
            ``value`` (reads ``value``) or ``offset`` (``value`` is added).
        start_s: first second.
        end_s: first second that is right again.
        value: for ``value`` and ``offset``, in the unit of the signal.
    """

    signal: str
    kind: str
    start_s: float
    end_s: float
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.signal not in Signals.__dataclass_fields__:
            raise ValueError(f'{self.signal!r} is no signal')
        if self.kind not in ('missing', 'nan', 'stuck', 'value', 'offset'):
            raise ValueError(f'kind is {self.kind!r}, not missing, nan, stuck, value or offset')
        if self.kind == 'missing' and self.signal == 'time_s':
            raise ValueError('time_s cannot be missing')


class Sensors:
    """What the policy is told: slow, noisy, rounded, and sometimes wrong.

    Latency comes with every frame. Temperature, power and battery are read once per
    ``period_s`` and keep their value between.
    """

    def __init__(
        self, device: Device, faults: tuple[Fault, ...], seed: int, period_s: float = 1.0
    ) -> None:
        """Prepare the sensors of a device; no reading has been taken yet."""
        self._device = device
        self._faults = faults
        self._noise = np.random.default_rng(seed)
        self._period_s = period_s
        self._due_s = 0.0
        self._energy_j = self._seconds = 0.0
        self._slow = Signals(0.0)
        self._stuck: dict[Fault, Any] = {}

    def read(self, frame: Frame) -> Signals:
        """Return the signals after a frame."""
        now = frame.start_s + frame.duration_s
        self._energy_j += frame.power_w * frame.duration_s
        self._seconds += frame.duration_s
        if now >= self._due_s:
            self._read_slow(frame)
            self._due_s = now + self._period_s
        signals = replace(
            self._slow,
            time_s=now,
            latency_ms=frame.latency_ms,
            latency_level=frame.level,
            rate_hz=self._device.rate_hz,
        )
        for fault in self._faults:
            if fault.start_s <= now < fault.end_s:
                signals = self._spoil(signals, fault)
        return signals

    def _read_slow(self, frame: Frame) -> None:
        mean_w = self._energy_j / self._seconds
        wobble = self._noise.standard_normal(2)
        self._slow = Signals(
            0.0,
            temperatures_c={ZONE: round(2.0 * (frame.temperature_c + 0.2 * wobble[0])) / 2.0},
            power_w=mean_w * (1.0 + 0.02 * float(wobble[1])),
            battery=self._device.battery.reading(frame.charge, frame.power_w),
            charging=False,
            over_current=False,
        )
        self._energy_j = self._seconds = 0.0

    def _spoil(self, signals: Signals, fault: Fault) -> Signals:
        healthy = getattr(signals, fault.signal)
        change: dict[str, Any] = {}
        if fault.kind == 'stuck':
            change[fault.signal] = self._stuck.setdefault(fault, healthy)
        elif not isinstance(healthy, Mapping):
            change[fault.signal] = _spoilt(healthy, fault)
        elif fault.kind == 'missing':
            change[fault.signal] = {}
        else:
            change[fault.signal] = {zone: _spoilt(value, fault) for zone, value in healthy.items()}
        return replace(signals, **change)


def _spoilt(healthy: float, fault: Fault) -> float | None:
    if fault.kind == 'missing':
        return None
    if fault.kind == 'nan':
        return math.nan
    return fault.value if fault.kind == 'value' else healthy + fault.value

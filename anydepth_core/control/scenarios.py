"""Closed loops to judge a policy by: a device, targets that change, sensors that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import math
from typing import Protocol

import numpy as np

from anydepth_core.control.plant import (
    Battery,
    Burst,
    Device,
    Fault,
    Frame,
    Plant,
    Sensors,
    Thermal,
)
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.signals import Decision, Policy, Signals
from anydepth_core.control.targets import Targets

# Latency (ms) and energy (J above idle) of an Orin Nano at 736x1280 for base and full, and the
# COCO AP of the small any-depth YOLOv12; the two levels between are interpolated by hand.
LEVELS = (
    ('base', 25.1, 0.485, 0.451),
    ('0010-0000', 31.0, 0.610, 0.465),
    ('1110-0000', 36.5, 0.730, 0.473),
    ('full', 42.1, 0.843, 0.479),
)


class SteeredPolicy(Policy, Protocol):
    """A policy whose targets can be changed while it runs."""

    def set_targets(self, targets: Targets) -> None:
        """Take new targets from the next decision on."""
        ...


@dataclass(frozen=True)
class Scenario:
    """A closed loop, complete but for the policy.

    Attributes:
        name: in words.
        device: the simulated machine.
        seconds: length.
        schedule: (second, targets) pairs in order, the first at second 0.
        faults: sensor faults.
        seed: of all noise.
    """

    name: str
    device: Device
    seconds: float
    schedule: tuple[tuple[float, Targets], ...]
    faults: tuple[Fault, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.schedule]
        if not starts or starts[0] != 0 or starts != sorted(starts):
            raise ValueError(f'schedule starts {starts} must begin with 0 and rise')


@dataclass(frozen=True)
class Trace:
    """What happened, one entry per processed frame; targets are NaN where there was none.

    Attributes:
        scenario: what was run.
        frames: the truth.
        signals: what the policy was told after each frame.
        decisions: what it answered; it holds from the next frame on.
        targets: the targets in force.
    """

    scenario: Scenario
    frames: tuple[Frame, ...] = field(repr=False)
    signals: tuple[Signals, ...] = field(repr=False)
    decisions: tuple[Decision, ...] = field(repr=False)
    targets: tuple[Targets, ...] = field(repr=False)

    def column(self, name: str) -> np.ndarray:
        """Return one attribute of :class:`Frame` over all frames, (frames,) float64."""
        return np.array([getattr(frame, name) for frame in self.frames], np.float64)

    def budget_ms(self) -> np.ndarray:
        """Return the latency each frame was allowed, in ms, NaN where none was set."""
        return np.array([_or_nan(targets.deadline()) for targets in self.targets], np.float64)


def run(policy: SteeredPolicy, scenario: Scenario, first_level: int = 0) -> Trace:
    """Close the loop around a policy.

    Args:
        policy: fresh; it is told the scenario's targets before the first frame.
        scenario: what to run.
        first_level: level of the first frame, before any decision.

    Returns:
        The trace; it ends early if the battery is empty.
    """
    plant = Plant(scenario.device, scenario.seed)
    sensors = Sensors(scenario.device, scenario.faults, scenario.seed + 1)
    frames, signals, decisions, targets = [], [], [], []
    pending = list(reversed(scenario.schedule))
    level, now, current = first_level, 0.0, Targets()
    while now < scenario.seconds:
        while pending and pending[-1][0] <= now:
            current = pending.pop()[1]
            policy.set_targets(current)
        frame = plant.step(level)
        seen = sensors.read(frame)
        decision = policy.decide(seen)
        frames.append(frame)
        signals.append(seen)
        decisions.append(decision)
        targets.append(current)
        level, now = decision.level, frame.start_s + frame.duration_s
        if frame.charge <= 0.0:
            break
    return Trace(scenario, tuple(frames), tuple(signals), tuple(decisions), tuple(targets))


def example_profile(noise: float = 0.05) -> Profile:
    """Return a ladder of four levels whose tail fits a latency noise (log standard deviation)."""
    tail = math.exp(1.645 * noise)
    return Profile(
        tuple(
            LevelProfile(depth, latency, latency * tail, energy, ap)
            for depth, latency, energy, ap in LEVELS
        ),
        'simulated',
    )


def latency_step(mode: str = 'tracking', noise: float = 0.05, seed: int = 0) -> Scenario:
    """Return a budget that steps twice: low, high, middle, a minute each, as published."""
    profile = example_profile(noise)
    schedule = tuple(
        (60.0 * index, Targets(mode=mode, deadline_ms=_budget(profile, share)))
        for index, share in enumerate((0.3, 0.8, 0.5))
    )
    return Scenario('latency step', Device(profile, noise=noise), 180.0, schedule, seed=seed)


def sawtooth(mode: str = 'tracking', noise: float = 0.05, seed: int = 0) -> Scenario:
    """Return a budget that climbs four times and falls back, a new value every half second."""
    profile, seconds, tooth, step = example_profile(noise), 180.0, 45.0, 0.5
    starts = np.arange(0.0, seconds, step).tolist()
    schedule = tuple(
        (start, Targets(mode=mode, deadline_ms=_budget(profile, start % tooth / tooth)))
        for start in starts
    )
    return Scenario('sawtooth', Device(profile, noise=noise), seconds, schedule, seed=seed)


def bursts(mode: str = 'deadline', noise: float = 0.05, seed: int = 0) -> Scenario:
    """Return a constant budget while other work slows the machine again and again."""
    profile = example_profile(noise)
    random = np.random.default_rng(seed + 2)
    starts = 20.0 + np.cumsum(random.uniform(12.0, 25.0, 12))
    contention = tuple(
        Burst(start, start + length, factor)
        for start, length, factor in zip(
            starts.tolist(),
            random.uniform(3, 9, 12).tolist(),
            random.uniform(1.2, 1.6, 12).tolist(),
        )
    )
    device = Device(profile, noise=noise, bursts=contention)
    targets = Targets(mode=mode, deadline_ms=45.0 if mode == 'deadline' else _budget(profile, 0.6))
    return Scenario('contention bursts', device, 300.0, ((0.0, targets),), seed=seed)


def power_mode(mode: str = 'deadline', noise: float = 0.05, seed: int = 0) -> Scenario:
    """Return a constant budget while a lower power mode slows every level for two minutes."""
    profile = example_profile(noise)
    device = Device(profile, noise=noise, slowdowns=((100.0, 1.4), (220.0, 1.0)))
    targets = Targets(mode=mode, deadline_ms=46.0 if mode == 'deadline' else 36.5)
    return Scenario('power mode', device, 320.0, ((0.0, targets),), seed=seed)


def heat(noise: float = 0.05, seed: int = 0) -> Scenario:
    """Return half an hour in a hot box: full depth throttles and still passes the hard limit."""
    targets = Targets(deadline_ms=60.0, temperature_soft_c=80.0, temperature_hard_c=86.0)
    return Scenario('heat', _hot_device(noise), 1800.0, ((0.0, targets),), seed=seed)


def battery_mission(reserve: float = 0.32, noise: float = 0.05, seed: int = 0) -> Scenario:
    """Return a mission of half an hour that base depth ends far above the reserve, full below."""
    seconds, battery = 1800.0, Battery()
    device = Device(example_profile(noise), noise=noise, battery=battery)
    targets = Targets(
        deadline_ms=60.0,
        battery_reserve=reserve,
        mission_end_s=seconds,
        battery_wh=battery.capacity_wh,
    )
    return Scenario('battery mission', device, seconds, ((0.0, targets),), seed=seed)


def sensor_faults(noise: float = 0.05, seed: int = 0) -> Scenario:
    """Return the hot box with every sensor failing in turn, and a clock that jumps."""
    targets = Targets(
        deadline_ms=60.0,
        temperature_soft_c=80.0,
        temperature_hard_c=86.0,
        battery_reserve=0.1,
        mission_end_s=1200.0,
        battery_wh=12.0,
    )
    faults = (
        Fault('temperatures_c', 'missing', 100.0, 180.0),
        Fault('temperatures_c', 'nan', 240.0, 320.0),
        Fault('temperatures_c', 'value', 380.0, 460.0, -256.0),
        Fault('temperatures_c', 'stuck', 520.0, 600.0),
        Fault('latency_ms', 'missing', 640.0, 680.0),
        Fault('latency_ms', 'nan', 720.0, 760.0),
        Fault('latency_ms', 'value', 800.0, 840.0, -1.0),
        Fault('battery', 'nan', 860.0, 940.0),
        Fault('battery', 'value', 980.0, 1000.0, 55.0),
        Fault('power_w', 'stuck', 860.0, 1000.0),
        Fault('time_s', 'offset', 1040.0, 1080.0, -500.0),
        Fault('time_s', 'offset', 1120.0, 1160.0, 1e6),
    )
    schedule = ((0.0, targets),)
    return Scenario('sensor faults', _hot_device(noise), 1200.0, schedule, faults, seed)


SCENARIOS: dict[str, Callable[..., Scenario]] = {
    'latency step': latency_step,
    'sawtooth': sawtooth,
    'contention bursts': bursts,
    'power mode': power_mode,
    'heat': heat,
    'battery mission': battery_mission,
    'sensor faults': sensor_faults,
}


def _hot_device(noise: float) -> Device:
    thermal = Thermal(ambient_c=30.0, resistance_c_per_w=4.5)
    return Device(example_profile(noise), noise=noise, thermal=thermal)


def _budget(profile: Profile, share: float) -> float:
    """Return a latency between a tenth above base and a tenth below full, as published."""
    base, full = profile.levels[0].latency_ms, profile.levels[-1].latency_ms
    return base + (0.1 + 0.8 * share) * (full - base)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value

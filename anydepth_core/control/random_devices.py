"""Simulated devices drawn at random: a promise of the law must hold on any of them."""

from __future__ import annotations

from dataclasses import replace
import math

import numpy as np

from anydepth_core.control.plant import Battery, Device, Thermal
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.published import AlwaysLevel
from anydepth_core.control.scenarios import run, Scenario
from anydepth_core.control.targets import Targets

NEVER_C = 1000.0  # a throttling temperature that is not reached
RESISTANCES_OHM = (0.0, 0.015, 0.03)


def random_mission(seed: int, resistance_ohm: float | None = None) -> Scenario:
    """Return a mission whose reserve lies between what always base and always full leave.

    Ladder, rate, noise, idle power, battery, length and reserve follow from the seed.

    Args:
        seed: of everything.
        resistance_ohm: inner resistance of the battery instead of a random one; with 0 its gauge
            does not sag.
    """
    random = np.random.default_rng(seed)
    device = _device(random)
    seconds = float(random.uniform(600, 1800))
    charge, used = float(random.uniform(0.5, 1.0)), float(random.uniform(0.3, 0.9))
    full_wh = _power_w(device, -1) * seconds / 3600
    drawn_ohm = float(random.choice(RESISTANCES_OHM))
    battery = Battery(
        capacity_wh=full_wh / (used * charge),
        charge=charge,
        resistance_ohm=drawn_ohm if resistance_ohm is None else resistance_ohm,
    )
    device = replace(device, battery=battery)
    top = len(device.profile.levels) - 1
    full, base = (_final_charge(device, seconds, level, seed) for level in (top, 0))
    targets = Targets(
        battery_reserve=full + (base - full) * float(random.uniform(0.1, 0.9)),
        mission_end_s=seconds,
        battery_wh=battery.capacity_wh,
    )
    return Scenario(f'mission {seed}', device, seconds, ((0.0, targets),), seed=seed)


def random_hot_box(seed: int) -> Scenario:
    """Return half an hour in which always full passes the hard limit and throttles.

    Always base stays under the soft limit. Ladder, limits, time constant and the rest follow from
    the seed.
    """
    random = np.random.default_rng(seed)
    device = _device(random)
    base_w, full_w = _power_w(device, 0), _power_w(device, -1)
    ambient_c, soft_c = float(random.uniform(15, 40)), float(random.uniform(65, 85))
    hard_c = soft_c + float(random.uniform(4, 12))
    # As hot as base allows, but not hotter at full depth than 25 degrees over the limit.
    hottest = (soft_c - 1 - ambient_c) / base_w
    resistance = min(hottest, (hard_c + float(random.uniform(1, 25)) - ambient_c) / full_w)
    thermal = Thermal(
        ambient_c=ambient_c,
        resistance_c_per_w=resistance,
        time_constant_s=float(np.exp(random.uniform(math.log(15), math.log(300)))),
        throttle_c=hard_c - float(random.uniform(-2, 4)),
    )
    targets = Targets(temperature_soft_c=soft_c, temperature_hard_c=hard_c)
    device = replace(device, thermal=thermal, battery=Battery(capacity_wh=1e6))
    return Scenario(f'hot box {seed}', device, 1800.0, ((0.0, targets),), seed=seed)


def _device(random: np.random.Generator) -> Device:
    """Draw a ladder of 2 to 6 levels whose dearest one keeps up with the images."""
    between = int(random.integers(0, 5))
    full_ms, ratio = random.uniform(20, 60), random.uniform(0.4, 0.85)
    latency_ms = full_ms * np.sort(np.r_[ratio, 1, random.uniform(ratio, 1, between)])
    watts = random.uniform(8, 25)
    energy_j = np.sort(latency_ms / 1000 * watts * random.uniform(0.95, 1.05, between + 2))
    ap = np.sort(random.uniform(0.40, 0.50, between + 2))
    noise = float(random.uniform(0.03, 0.10))
    tail = math.exp(1.645 * noise)
    levels = tuple(
        LevelProfile(str(index), latency, latency * tail, energy, score)
        for index, (latency, energy, score) in enumerate(
            zip(latency_ms.tolist(), energy_j.tolist(), ap.tolist())
        )
    )
    return Device(
        Profile(levels, 'simulated'),
        rate_hz=float(random.uniform(4, 900 / full_ms)),
        noise=noise,
        idle_w=float(random.uniform(2, 10)),
        thermal=Thermal(throttle_c=NEVER_C),
    )


def _power_w(device: Device, level: int) -> float:
    return device.idle_w + (device.profile.levels[level].energy_j or 0.0) * device.rate_hz


def _final_charge(device: Device, seconds: float, level: int, seed: int) -> float:
    scenario = Scenario('ends', device, seconds, ((0.0, Targets()),), seed=seed)
    return run(AlwaysLevel(level), scenario).frames[-1].charge

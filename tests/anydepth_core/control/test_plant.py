"""The simulated device: physics that hold, noise that repeats, sensors that fail as told."""

from __future__ import annotations

from dataclasses import replace
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.control.plant import (
    Battery,
    Burst,
    Device,
    Fault,
    Frame,
    Plant,
    Sensors,
    Thermal,
    ZONE,
)
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.signals import Signals

PROFILE = Profile(
    (
        LevelProfile('base', 20.0, 22.0, 0.4, 0.45),
        LevelProfile('full', 40.0, 44.0, 0.8, 0.48),
    )
)
QUIET = Device(PROFILE, noise=0.0)


def run_level(device: Device, level: int, frames: int, seed: int = 0) -> list[Frame]:
    plant = Plant(device, seed)
    return [plant.step(level) for _ in range(frames)]


def read_all(faults: tuple[Fault, ...], seconds: float, device: Device = QUIET) -> list[Signals]:
    plant, sensors = Plant(device, 0), Sensors(device, faults, 1)
    return [sensors.read(plant.step(0)) for _ in range(round(seconds * device.rate_hz))]


@given(
    start=st.floats(-20, 120),
    power=st.floats(0, 100),
    first=st.floats(0, 900),
    last=st.floats(0, 900),
)
def test_heating_in_two_steps_equals_heating_in_one(
    start: float, power: float, first: float, last: float
) -> None:
    thermal = Thermal()
    whole = thermal.after(start, power, first + last)
    assert thermal.after(thermal.after(start, power, first), power, last) == pytest.approx(
        whole, abs=1e-6
    )


def test_temperature_comes_to_rest_at_ambient_plus_resistance_times_power() -> None:
    thermal = Thermal(ambient_c=25.0, resistance_c_per_w=3.0)
    assert thermal.after(90.0, 10.0, 1e6) == pytest.approx(55.0)


@given(cooler=st.floats(-50, 200), hotter=st.floats(-50, 200))
def test_the_clock_never_rises_with_heat_and_keeps_its_floor(cooler: float, hotter: float) -> None:
    thermal = Thermal()
    cooler, hotter = sorted((cooler, hotter))
    assert 1.0 >= thermal.clock(cooler) >= thermal.clock(hotter) >= thermal.clock_floor


@given(charge=st.floats(0.05, 1), power=st.floats(0.1, 60), seconds=st.floats(1, 60))
def test_the_battery_loses_at_least_what_the_load_takes(
    charge: float, power: float, seconds: float
) -> None:
    battery = Battery()
    after = battery.after(charge, power, seconds)
    load = power * seconds / 3600.0 / battery.capacity_wh
    assert charge - after >= min(load, charge) * (1 - 1e-9)


def test_the_gauge_reads_less_under_load() -> None:
    battery = Battery(resistance_ohm=0.1)
    assert battery.reading(0.5, 0.0) == 0.5
    assert battery.reading(0.5, 20.0) < 0.48


def test_the_sustainable_load_ends_at_the_asked_charge() -> None:
    battery = Battery(charge=0.9)
    power, charge = battery.sustainable_w(0.3, 3600.0), 0.9
    for _ in range(3600):
        charge = battery.after(charge, power, 1.0)
    assert charge == pytest.approx(0.3, abs=1e-3)


def test_the_same_seed_gives_the_same_frames_and_another_seed_others() -> None:
    device = replace(QUIET, noise=0.05)
    assert run_level(device, 1, 50, seed=4) == run_level(device, 1, 50, seed=4)
    assert run_level(device, 1, 50, seed=4) != run_level(device, 1, 50, seed=5)


@pytest.mark.parametrize('noise', [0.03, 0.10])
def test_latency_spreads_around_the_median_of_the_profile(noise: float) -> None:
    frames = run_level(replace(QUIET, noise=noise), 1, 4000)
    latency = np.array([frame.latency_ms for frame in frames])
    assert np.median(latency) == pytest.approx(40.0, rel=0.01)
    assert np.log(latency).std() == pytest.approx(noise, rel=0.1)


def test_a_hot_device_is_slower_and_its_frames_cheaper() -> None:
    device = replace(QUIET, thermal=Thermal(ambient_c=60.0, resistance_c_per_w=4.0))
    frames = run_level(device, 1, 9000)
    assert frames[0].clock == 1.0
    assert frames[-1].temperature_c > device.thermal.throttle_c
    assert frames[-1].latency_ms > 41.0
    assert frames[-1].energy_j < 0.79


def test_contention_lasts_as_long_as_the_burst() -> None:
    frames = run_level(replace(QUIET, bursts=(Burst(0.95, 1.95, 1.5),)), 0, 30)
    slow = [frame.start_s for frame in frames if frame.latency_ms > 25.0]
    assert len(slow) == 10
    assert min(slow) > 0.95 and max(slow) < 1.95


def test_contention_adds_to_contention_and_to_a_power_mode() -> None:
    shared = (Burst(0.0, 9.0, 1.5), Burst(0.0, 9.0, 2.0))
    device = replace(QUIET, bursts=shared, slowdowns=((0.0, 1.2),))
    assert run_level(device, 0, 1)[0].latency_ms == pytest.approx(20.0 * 1.5 * 2.0 * 1.2)


def test_a_new_power_mode_holds_until_the_next_one() -> None:
    device = replace(QUIET, slowdowns=((1.0, 2.0), (2.0, 1.2)))
    latency = [frame.latency_ms for frame in run_level(device, 0, 30)]
    np.testing.assert_allclose([latency[5], latency[15], latency[25]], [20.0, 40.0, 24.0])


@settings(max_examples=30)
@given(rate=st.floats(5, 200), level=st.integers(0, 1))
def test_frames_follow_one_another_without_gap_or_overlap(rate: float, level: int) -> None:
    frames = run_level(replace(QUIET, rate_hz=rate), level, 20)
    for before, after in zip(frames, frames[1:]):
        assert after.start_s == pytest.approx(before.start_s + before.duration_s)
    expected = max(1.0 / rate, PROFILE.levels[level].latency_ms / 1000.0)
    assert frames[0].duration_s == pytest.approx(expected)


@pytest.mark.parametrize('level', [-1, 2])
def test_a_level_beyond_the_ladder_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match='2 levels'):
        Plant(QUIET, 0).step(level)


def test_latency_is_fresh_with_every_frame_and_the_rest_once_a_second() -> None:
    signals = read_all((), 10.0, replace(QUIET, noise=0.05))
    assert len({seen.latency_ms for seen in signals}) == 100
    assert 9 <= len({seen.power_w for seen in signals}) <= 11


def test_power_is_the_mean_since_the_reading_before() -> None:
    plant, sensors = Plant(QUIET, 0), Sensors(QUIET, (), 1)
    first = [sensors.read(plant.step(0)) for _ in range(50)]
    second = [sensors.read(plant.step(1)) for _ in range(50)]
    assert first[-1].power_w == pytest.approx(5.0 + 0.4 * 10.0, rel=0.08)
    assert second[-1].power_w == pytest.approx(5.0 + 0.8 * 10.0, rel=0.08)


def test_slow_sensors_tell_the_truth_but_for_noise_and_rounding() -> None:
    device = replace(QUIET, battery=Battery(capacity_wh=1.0, charge=0.9))
    plant, sensors = Plant(device, 0), Sensors(device, (), 1)
    frames = [plant.step(1) for _ in range(900)]
    signals = [sensors.read(frame) for frame in frames]
    for frame, seen in list(zip(frames, signals))[::90]:
        assert seen.temperatures_c[ZONE] == pytest.approx(frame.temperature_c, abs=1.5)
        assert seen.battery == pytest.approx(frame.charge, abs=0.03)
    assert frames[0].charge - frames[-1].charge > 0.2


@pytest.mark.parametrize(
    'kind, expected', [('missing', None), ('value', 7.0), ('offset', 27.0), ('stuck', 20.0)]
)
def test_a_fault_changes_its_signal_for_its_time_only(kind: str, expected: float | None) -> None:
    signals = read_all((Fault('latency_ms', kind, 1.0, 2.0, 7.0),), 3.0)
    for seen in signals:
        wanted = expected if 1.0 <= seen.time_s < 2.0 else 20.0
        assert seen.latency_ms == pytest.approx(wanted)
        assert seen.temperatures_c[ZONE] > 0.0


def test_a_stuck_sensor_keeps_its_first_value() -> None:
    device = replace(QUIET, noise=0.05)
    signals = read_all((Fault('latency_ms', 'stuck', 1.0, 2.0),), 3.0, device)
    stuck = {seen.latency_ms for seen in signals if 1.0 <= seen.time_s < 2.0}
    assert len(stuck) == 1


def test_zones_can_vanish_or_read_nonsense() -> None:
    faults = (
        Fault('temperatures_c', 'missing', 1.0, 2.0),
        Fault('temperatures_c', 'nan', 3.0, 4.0),
        Fault('temperatures_c', 'value', 5.0, 6.0, -256.0),
    )
    seen = {round(signals.time_s, 1): signals for signals in read_all(faults, 7.0)}
    assert seen[1.5].temperatures_c == {}
    assert math.isnan(seen[3.5].temperatures_c[ZONE])
    assert seen[5.5].temperatures_c == {ZONE: -256.0}
    assert seen[6.5].temperatures_c[ZONE] > 0.0


def test_the_clock_can_jump() -> None:
    times = [seen.time_s for seen in read_all((Fault('time_s', 'offset', 1.0, 2.0, -500.0),), 3.0)]
    assert min(times) < -497.0
    assert times[-1] == pytest.approx(3.0)


@pytest.mark.parametrize(
    'signal, kind, words',
    [
        ('humidity', 'nan', 'no signal'),
        ('battery', 'broken', 'not missing'),
        ('time_s', 'missing', 'cannot be missing'),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(signal: str, kind: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fault(signal, kind, 0.0, 1.0)

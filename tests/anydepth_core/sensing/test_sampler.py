from __future__ import annotations

from dataclasses import replace
import logging
import math
import sys
import threading
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from anydepth_core.sensing.battery import Battery, BatteryReading
from anydepth_core.sensing.power import Power
from anydepth_core.sensing.processor import Processor
from anydepth_core.sensing.sample import Sample
from anydepth_core.sensing.sampler import Sampler, sampler_of, SamplerSettings, Sources
from anydepth_core.sensing.thermal import Thermal, TripPoints
from tests.anydepth_core.sensing.fake_device import (
    INA,
    OC,
    write,
    write_jetson,
    write_laptop,
    write_stat,
)

FAST = SamplerSettings(period_s=0.1, stale_s=5.0)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        return self.time_s


class Blocking:
    """A battery that answers only when it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.entered = threading.Event()

    def read(self, time_s: float) -> BatteryReading:
        self.entered.set()
        self.released.wait()
        return BatteryReading(0.5, False)


class Failing:
    """A battery that raises what it is told to, or answers."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.reads = 0
        self.again = threading.Event()

    def read(self, time_s: float) -> BatteryReading:
        self.reads += 1
        if self.reads == 3:
            self.again.set()
        if self.error is not None:
            raise self.error
        return BatteryReading(0.5, False)


class Unspeakable(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError('no words')


def sources(root, battery):
    return Sources(Thermal(root), Power(root), battery, Processor(root))


def test_a_jetson_is_read_whole(tmp_path):
    sampler = sampler_of(write_jetson(tmp_path), clock=Clock())
    sampler.read_once()
    write_stat(tmp_path, 130, 170)
    assert sampler.read_once() == Sample(
        time_s=0.0,
        temperatures_c={
            'cpu-thermal': 51.468,
            'gpu-thermal': 48.25,
            'soc0-thermal': 49.093,
            'soc1-thermal': 48.593,
            'soc2-thermal': 48.875,
            'tj-thermal': 51.468,
        },
        rails_w={'VDD_IN': 7.0, 'VDD_CPU_GPU_CV': 2.0, 'VDD_SOC': 1.5},
        power_w=7.0,
        over_current=False,
        gpu_load=0.37,
        cpu_load=0.3,
        throttled=False,
        cpu_cap=1510400 / 1984000,
        trip_points={'cpu-thermal': TripPoints(99.0, 104.5)},
        absent=(
            'temperature cv0-thermal: no reading so far',
            'temperature cv1-thermal: no reading so far',
            'battery: none in /sys/class/power_supply',
        ),
    )


def test_a_laptop_is_read_whole(tmp_path):
    sampler = sampler_of(write_laptop(tmp_path), clock=Clock())
    assert sampler.read_once() == Sample(
        time_s=0.0,
        temperatures_c={'acpitz': 47.0, 'x86_pkg_temp': 58.0},
        power_w=11.5,
        battery=0.645,
        charging=False,
        throttled=False,
        cpu_cap=1.0,
        absent=(
            'power rails: no INA3221 in /sys/class/hwmon',
            'over-current: no alarm or event counter in /sys/class/hwmon',
            'gpu load: no known file',
        ),
    )


def test_the_battery_does_not_stand_in_for_rails_that_fail(tmp_path):
    write_laptop(write_jetson(tmp_path))
    sampler = sampler_of(tmp_path)
    assert sampler.read_once().power_w == 7.0
    write(tmp_path, f'{INA}/in1_input', 'junk')
    sample = sampler.read_once()
    assert sample.power_w is None and sample.battery == 0.645


def test_the_battery_does_not_stand_in_for_a_power_group_that_fails(tmp_path):
    write_laptop(tmp_path)
    parts = Sources(Thermal(tmp_path), Failing(OSError()), Battery(tmp_path), Processor(tmp_path))
    sample = Sampler(parts).read_once()
    assert sample.power_w is None and sample.battery == 0.645


def test_a_fake_device_never_shows_the_battery_of_this_machine(tmp_path, monkeypatch):
    here = SimpleNamespace(sensors_battery=lambda: SimpleNamespace(percent=50, power_plugged=True))
    monkeypatch.setitem(sys.modules, 'psutil', here)
    assert sampler_of(tmp_path).read_once().battery is None


def test_an_empty_device_is_unknown_and_says_what_it_lacks(tmp_path):
    sample = sampler_of(tmp_path, clock=Clock()).read_once()
    assert replace(sample, absent=()) == Sample(
        0.0, problems=('cpu load: /proc/stat cannot be used',)
    )
    found = [words.partition(':')[0] for words in sample.absent]
    assert found == ['temperatures', 'power rails', 'over-current', 'battery', 'gpu load']


def test_a_problem_lasts_as_long_as_its_cause(tmp_path):
    sampler = sampler_of(write_jetson(tmp_path))
    for content, told in (('5000', False), ('junk', True), ('5000', False), ('junk', True)):
        write(tmp_path, f'{INA}/in2_input', content)
        problems = sampler.read_once().problems
        assert ('power rail VDD_CPU_GPU_CV: no plausible reading' in problems) == told


def test_nothing_is_known_before_the_first_reading(tmp_path):
    assert sampler_of(write_jetson(tmp_path), clock=Clock()).newest() == Sample(0.0)


def test_threads_keep_the_sample_new_and_end_when_asked(tmp_path):
    write_laptop(tmp_path)
    before = threading.active_count()
    with sampler_of(tmp_path, FAST) as sampler:
        assert threading.active_count() == before + 4
        wait_for(lambda: sampler.newest().battery == 0.645)
        write(tmp_path, 'sys/class/power_supply/BAT0/energy_now', '32000000')
        wait_for(lambda: sampler.newest().battery == 0.64)
    assert threading.active_count() == before
    sampler.stop()


def test_stopping_what_was_never_started_is_harmless(tmp_path):
    sampler_of(tmp_path).stop()


@pytest.mark.parametrize('error', [OSError(5, 'EIO'), ValueError(), MemoryError(), Unspeakable()])
def test_a_thread_survives_any_exception(tmp_path, error, caplog):
    caplog.set_level(logging.CRITICAL)
    battery = Failing(error)
    with Sampler(sources(write_jetson(tmp_path), battery), FAST) as sampler:
        assert battery.again.wait(10)
        sample = sampler.newest()
        assert f'battery: reading failed with {type(error).__name__}' in sample.problems
        assert sample.battery is None and sample.power_w == 7.0
        battery.error = None
        wait_for(lambda: sampler.newest().battery == 0.5)
        assert not any('battery' in words for words in sampler.newest().problems)


def test_a_group_that_blocks_becomes_unknown_and_holds_up_no_other(tmp_path):
    clock, battery = Clock(), Blocking()
    sampler = Sampler(sources(write_jetson(tmp_path), battery), FAST, clock)
    sampler.start()
    try:
        assert battery.entered.wait(10)
        clock.time_s = 1000.0
        wait_for(lambda: sampler.newest().power_w == 7.0)
        wait_for(lambda: sampler.newest().temperatures_c)
        sample = sampler.newest()
        assert sample.battery is None
        assert 'battery: no answer for more than 5 s' in sample.problems
        battery.released.set()
        wait_for(lambda: sampler.newest().battery == 0.5)
    finally:
        battery.released.set()
        sampler.stop()


@pytest.mark.timeout(20)
def test_stop_leaves_a_blocked_thread_behind(tmp_path, caplog):
    battery = Blocking()
    sampler = Sampler(sources(tmp_path, battery), FAST)
    sampler.start()
    assert battery.entered.wait(10)
    sampler.stop(timeout_s=0.05)
    left = [thread for thread in threading.enumerate() if thread.name == 'sensing-battery']
    battery.released.set()
    assert left and all(thread.daemon for thread in left), 'the process could not end'
    assert 'battery: still blocked in a driver, left behind' in caplog.messages


def test_old_values_are_forgotten_not_repeated(tmp_path):
    clock = Clock()
    sampler = sampler_of(write_laptop(tmp_path), clock=clock)
    sampler.read_once()
    clock.time_s = 5.0
    assert sampler.newest().battery == 0.645
    clock.time_s = 5.1
    sample = sampler.newest()
    assert sample.battery is None and sample.temperatures_c == {} and sample.power_w is None
    assert len(sample.problems) == 4


def test_an_over_current_event_is_seen_by_a_slow_poll(tmp_path):
    clock = Clock()
    sampler = sampler_of(write_jetson(tmp_path), SamplerSettings(hold_s=2.0), clock)
    sampler.read_once()
    write(tmp_path, OC, '1')
    for clock.time_s in (1.0, 2.0):
        sampler.read_once()
    assert sampler.newest().over_current is True


@pytest.mark.parametrize(
    'values', [{'period_s': 0.0}, {'period_s': math.nan}, {'stale_s': 1.0}, {'hold_s': -1.0}]
)
def test_periods_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match=f'{next(iter(values))} is'):
        SamplerSettings(**values)


JUNK = st.binary(max_size=40) | st.integers(-(10**13), 10**13).map(lambda n: b'%d\n' % n)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_content_of_any_file_gives_plausible_values_or_none(tmp_path_factory, data):
    root = tmp_path_factory.mktemp('device')
    write_laptop(write_jetson(root))
    paths = sorted(path for path in root.rglob('*') if path.is_file())
    readings = [sampler_of(root), sampler_of(root)]
    readings[0].read_once()
    for path in data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=12)):
        content = data.draw(st.none() | JUNK)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
    for sampler in readings:
        check(sampler.read_once())


@given(st.binary(max_size=64))
@settings(max_examples=100, deadline=None)
def test_one_content_in_all_files_gives_plausible_values_or_none(tmp_path_factory, content):
    root = tmp_path_factory.mktemp('device')
    write_laptop(write_jetson(root))
    sampler = sampler_of(root)
    sampler.read_once()
    for path in root.rglob('*'):
        if path.is_file():
            path.write_bytes(content)
    check(sampler.read_once())
    check(sampler_of(root).read_once())


def check(sample: Sample) -> None:
    """Check that every value is possible, and that no reading ended in an exception."""
    assert all(isinstance(name, str) and name for name in sample.temperatures_c)
    assert all(-60 <= value <= 150 for value in sample.temperatures_c.values())
    assert all(0 <= value <= 1000 for value in sample.rails_w.values())
    assert sample.power_w is None or 0 <= sample.power_w <= 3000
    for share in (sample.battery, sample.gpu_load, sample.cpu_load, sample.cpu_cap):
        assert share is None or 0 <= share <= 1
    for state in (sample.charging, sample.over_current, sample.throttled):
        assert state is None or isinstance(state, bool)
    assert not any('failed' in words for words in sample.problems)


def wait_for(condition) -> None:
    """Wait until a condition holds; the test's own time limit ends a wait in vain."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)

from __future__ import annotations

import pytest

from anydepth_core.sensing.processor import Processor
from tests.anydepth_core.sensing.fake_device import (
    GPU,
    STAT,
    write,
    write_cap,
    write_cooler,
    write_jetson,
    write_stat,
)


@pytest.mark.parametrize(
    ('path', 'content', 'load'),
    [
        ('sys/devices/platform/gpu.0/load', '370', 0.37),
        ('sys/devices/platform/bus@0/17000000.gpu/load', '1000', 1.0),
        ('sys/devices/platform/17000000.gv11b/load', '5', 0.005),
        ('sys/devices/gpu.0/load', '0', 0.0),
        ('sys/class/drm/card0/device/gpu_busy_percent', '42', 0.42),
        ('sys/devices/gpu.0/load', '1001', None),
        ('sys/devices/gpu.0/load', '-1', None),
        ('sys/devices/gpu.0/load', 'NA', None),
    ],
)
def test_gpu_load_is_found_where_kernels_put_it(tmp_path, path, content, load):
    write(tmp_path, path, content)
    reading = Processor(tmp_path).read(0.0)
    assert reading.gpu_load == load and not reading.absent
    assert ('gpu load: no plausible reading' in reading.problems) == (load is None)


def test_cpu_load_is_the_busy_share_since_the_reading_before(tmp_path):
    processor = Processor(tmp_path)
    loads = []
    for busy, idle in ((100, 100), (130, 170), (130, 270), (230, 270), (230, 270), (5, 5), (8, 6)):
        write_stat(tmp_path, busy, idle)
        loads.append(processor.read(0.0).cpu_load)
    assert loads == [None, 0.3, 0.0, 1.0, None, None, 0.75]


def test_waiting_for_a_disk_and_counts_that_run_backwards_stay_in_range(tmp_path):
    processor = Processor(tmp_path)
    write(tmp_path, STAT, 'cpu  100 0 0 100 50 0 0 0 0 0')
    processor.read(0.0)
    write(tmp_path, STAT, 'cpu  110 0 0 130 110 0 0 0 0 0')
    assert processor.read(0.0).cpu_load == pytest.approx(0.1)
    write(tmp_path, STAT, 'cpu  130 0 0 120 110 0 0 0 0 0')
    assert processor.read(0.0).cpu_load == 1.0


@pytest.mark.parametrize('content', ['', 'cpu', 'cpu 1 2 3', 'intr 1 2 3 4 5 6 7 8 9', b'\xff'])
def test_counts_that_make_no_sense_are_a_problem(tmp_path, content):
    write(tmp_path, STAT, content)
    reading = Processor(tmp_path).read(0.0)
    assert reading.cpu_load is None
    assert reading.problems == ('cpu load: /proc/stat cannot be used',)


def test_after_counts_that_make_no_sense_the_load_starts_anew(tmp_path):
    processor = Processor(tmp_path)
    loads = []
    for content in ('100 0 0 100 0 0 0 0', 'junk', '130 0 0 170 0 0 0 0', '140 0 0 180 0 0 0 0'):
        write(tmp_path, STAT, f'cpu  {content}')
        loads.append(processor.read(0.0).cpu_load)
    assert loads == [None, None, None, 0.5]


def test_a_fan_that_runs_is_no_throttling_but_a_slowed_processor_is(tmp_path):
    write_cooler(tmp_path, 3, 'cpu-fan', '4')
    processor = Processor(write_jetson(tmp_path))
    assert processor.read(0.0).throttled is False
    write_cooler(tmp_path, 2, 'devfreq-17000000.gpu', '3')
    assert processor.read(0.0).throttled is True
    write_cooler(tmp_path, 2, 'devfreq-17000000.gpu', '0')
    assert processor.read(0.0).throttled is False


def test_a_power_mode_is_a_cap_but_no_throttling(tmp_path):
    processor = Processor(write_jetson(tmp_path))
    processor.read(0.0)
    write_cap(tmp_path, 992000, 1984000)
    reading = processor.read(0.0)
    assert reading.cpu_cap == 0.5 and reading.throttled is False


def test_without_cooling_devices_a_cap_that_falls_is_throttling(tmp_path):
    processor = Processor(tmp_path)
    seen = []
    for cap in (1500, 1500, 1000, 1500):
        write_cap(tmp_path, cap, 2000)
        seen.append(processor.read(0.0).throttled)
    assert seen == [False, False, True, False]


def test_a_throttle_count_that_rises_is_throttling(tmp_path):
    count = 'sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count'
    processor = Processor(tmp_path)
    seen = []
    for value in ('4', '4', '5', '5'):
        write(tmp_path, count, value)
        seen.append(processor.read(0.0).throttled)
    assert seen == [None, False, True, False]


@pytest.mark.parametrize('cap', [0, 2001, -5])
def test_an_impossible_cap_is_unknown(tmp_path, cap):
    write_cap(tmp_path, cap, 2000)
    reading = Processor(tmp_path).read(0.0)
    assert reading.cpu_cap is None and reading.throttled is None


def test_the_most_limited_cluster_counts(tmp_path):
    write_cap(tmp_path, 2000, 2000)
    write(tmp_path, 'sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq', '1000')
    write(tmp_path, 'sys/devices/system/cpu/cpufreq/policy4/cpuinfo_max_freq', '2500')
    assert Processor(tmp_path).read(0.0).cpu_cap == 0.4


def test_a_device_without_a_gpu_file_says_so(tmp_path):
    write_jetson(tmp_path)
    (tmp_path / GPU).unlink()
    reading = Processor(tmp_path).read(0.0)
    assert reading.gpu_load is None and reading.absent == ('gpu load: no known file',)

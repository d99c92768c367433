from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from anydepth_core.sensing.battery import Battery, BatteryReading, psutil_battery
from tests.anydepth_core.sensing.fake_device import BATTERY, write, write_laptop

ABSENT = ('battery: none in /sys/class/power_supply',)


@pytest.fixture
def laptop(tmp_path):
    return write_laptop(tmp_path)


def test_the_finer_count_is_used_where_it_agrees(laptop):
    reading = Battery(laptop).read(0.0)
    assert reading == BatteryReading(0.645, False, 11.5)
    write(laptop, f'{BATTERY}/energy_now', '40000000')
    assert Battery(laptop).read(0.0).battery == 0.64
    write(laptop, f'{BATTERY}/energy_full', '0')
    assert Battery(laptop).read(0.0).battery == 0.64


@pytest.mark.parametrize(
    ('status', 'online', 'charging'),
    [
        ('Charging', '0', True),
        ('Discharging', '1', False),
        ('Not charging', '', True),
        ('Full', '0', True),
        ('Unknown', '1', True),
        ('Unknown', '0', None),
        ('', '', None),
    ],
)
def test_charging_means_that_something_else_feeds_the_device(laptop, status, online, charging):
    write(laptop, f'{BATTERY}/status', status)
    write(laptop, 'sys/class/power_supply/AC/online', online)
    reading = Battery(laptop).read(0.0)
    assert reading.charging is charging
    assert (reading.power_w is None) == (charging is not False)


@pytest.mark.parametrize('current', ['1500000', '-1500000'])
def test_power_comes_from_current_where_it_is_not_given(laptop, current):
    (laptop / BATTERY / 'power_now').unlink()
    write(laptop, f'{BATTERY}/current_now', current)
    write(laptop, f'{BATTERY}/voltage_now', '12000000')
    assert Battery(laptop).read(0.0).power_w == pytest.approx(18.0)


@pytest.mark.parametrize('power', ['0', '99999999999', 'junk'])
def test_power_that_is_not_measured_is_unknown(laptop, power):
    write(laptop, f'{BATTERY}/power_now', power)
    assert Battery(laptop).read(0.0).power_w is None


def test_a_pack_that_counts_charge_is_understood(laptop):
    for name in ('energy_now', 'energy_full', 'capacity'):
        (laptop / BATTERY / name).unlink()
    write(laptop, f'{BATTERY}/charge_now', '1000000')
    write(laptop, f'{BATTERY}/charge_full', '4000000')
    assert Battery(laptop).read(0.0).battery == 0.25


@pytest.mark.parametrize('capacity', ['-1', '106', '', 'nan', '4294967295'])
def test_an_impossible_charge_is_unknown_never_zero(laptop, capacity):
    (laptop / BATTERY / 'energy_now').unlink()
    write(laptop, f'{BATTERY}/capacity', capacity)
    reading = Battery(laptop).read(0.0)
    assert reading.battery is None
    assert reading.problems == ('battery: no plausible state of charge',)


def test_a_gauge_slightly_beyond_full_is_full(laptop):
    write(laptop, f'{BATTERY}/capacity', '100')
    write(laptop, f'{BATTERY}/energy_now', '50600000')
    assert Battery(laptop).read(0.0).battery == 1.0


def test_two_packs_weigh_by_their_energy(laptop):
    for name, content in {
        'type': 'Battery',
        'status': 'Not charging',
        'capacity': '100',
        'energy_now': '25000000',
        'energy_full': '25000000',
        'power_now': '0',
    }.items():
        write(laptop, f'sys/class/power_supply/BAT1/{name}', content)
    reading = Battery(laptop).read(0.0)
    assert reading.battery == pytest.approx((32.25 + 25) / 75)
    assert reading.charging is False and reading.power_w == 11.5


def test_the_battery_of_a_mouse_is_not_ours(laptop):
    write(laptop, 'sys/class/power_supply/hidpp/type', 'Battery')
    write(laptop, 'sys/class/power_supply/hidpp/scope', 'Device')
    write(laptop, 'sys/class/power_supply/hidpp/capacity', '5')
    assert Battery(laptop).read(0.0).battery == 0.645


def test_an_empty_bay_is_no_battery(laptop):
    write(laptop, f'{BATTERY}/present', '0')
    assert Battery(laptop).read(0.0) == BatteryReading(absent=ABSENT)


def test_a_charge_that_does_not_fall_while_energy_flows_is_stuck(laptop):
    battery = Battery(laptop)
    # 11.5 W out of 50 Wh: 5 % are drawn after 783 s.
    readings = [battery.read(float(time_s)) for time_s in range(0, 900, 10)]
    assert [reading.battery is None for reading in readings] == [
        10 * step > 783 for step in range(90)
    ]
    write(laptop, f'{BATTERY}/energy_now', '32000000')
    assert battery.read(910.0).battery == 0.64


def test_a_clock_that_jumps_proves_nothing_about_the_charge(laptop):
    battery = Battery(laptop)
    times = (0.0, 1e9, -1e9, 5.0, 1e18)
    assert all(battery.read(time_s).battery == 0.645 for time_s in times)


def test_the_fallback_is_asked_only_without_a_battery_in_the_files(tmp_path):
    other = BatteryReading(0.3, True)
    assert Battery(tmp_path, lambda: other).read(0.0) == other
    assert Battery(tmp_path, lambda: None).read(0.0) == BatteryReading(absent=ABSENT)
    assert Battery(write_laptop(tmp_path), lambda: other).read(0.0).battery == 0.645


@pytest.mark.parametrize(
    ('answer', 'reading'),
    [
        (SimpleNamespace(percent=41, power_plugged=False), BatteryReading(0.41, False)),
        (SimpleNamespace(percent=float('nan'), power_plugged=None), BatteryReading()),
        (None, None),
    ],
)
def test_psutil_percent_becomes_a_share(monkeypatch, answer, reading):
    monkeypatch.setitem(sys.modules, 'psutil', SimpleNamespace(sensors_battery=lambda: answer))
    assert psutil_battery() == reading


@pytest.mark.parametrize('module', [None, SimpleNamespace()])
def test_without_psutil_or_its_battery_there_is_no_answer(monkeypatch, module):
    monkeypatch.setitem(sys.modules, 'psutil', module)
    assert psutil_battery() is None

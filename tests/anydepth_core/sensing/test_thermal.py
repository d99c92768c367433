from __future__ import annotations

import pytest

from anydepth_core.sensing.thermal import Thermal, TripPoints
from tests.anydepth_core.sensing.fake_device import (
    write,
    write_jetson,
    write_laptop,
    write_trips,
    write_zones,
)


def test_zones_are_known_by_their_type_wherever_they_stand(tmp_path):
    zones = {'cpu-thermal': '51000', 'gpu-thermal': '48250'}
    write_zones(tmp_path / 'a', zones)
    write_zones(tmp_path / 'b', dict(reversed(zones.items())), first=3)
    readings = [Thermal(tmp_path / name).read(0.0).temperatures_c for name in 'ab']
    assert readings[0] == readings[1] == {'cpu-thermal': 51.0, 'gpu-thermal': 48.25}


def test_zones_that_are_switched_off_are_unknown_and_no_problem(tmp_path):
    reading = Thermal(write_jetson(tmp_path)).read(0.0)
    assert set(reading.temperatures_c) == {
        *('cpu-thermal', 'gpu-thermal', 'soc0-thermal', 'soc1-thermal', 'soc2-thermal'),
        'tj-thermal',
    }
    assert reading.problems == ()
    assert reading.absent == (
        'temperature cv0-thermal: no reading so far',
        'temperature cv1-thermal: no reading so far',
    )


@pytest.mark.parametrize('content', ['-256', '-256000', '200000', '-99000', 'nan', '', '51.5'])
def test_an_impossible_reading_is_unknown(tmp_path, content):
    thermal = Thermal(tmp_path)
    write_zones(tmp_path, {'gpu-thermal': '45000', 'cpu-thermal': '40000'})
    assert thermal.read(0.0).problems == ()
    write_zones(tmp_path, {'gpu-thermal': content, 'cpu-thermal': '40000'})
    reading = thermal.read(1.0)
    assert reading.temperatures_c == {'cpu-thermal': 40.0} and reading.absent == ()
    assert reading.problems == ('temperature gpu-thermal: no plausible reading',)


def test_frost_is_a_temperature(tmp_path):
    write_zones(tmp_path, {'gpu-thermal': '-12500'})
    assert Thermal(tmp_path).read(0.0).temperatures_c == {'gpu-thermal': -12.5}


def test_the_hottest_of_zones_with_one_name_counts(tmp_path):
    for index, value in enumerate(('41000', '73000', '52000')):
        write_zones(tmp_path, {'acpitz': value}, first=index)
    assert Thermal(tmp_path).read(0.0).temperatures_c == {'acpitz': 73.0}


def test_a_zone_without_a_usable_name_is_left_out(tmp_path):
    write_zones(tmp_path, {'cpu-thermal': '40000', '': '99000'})
    assert Thermal(tmp_path).read(0.0).temperatures_c == {'cpu-thermal': 40.0}


def test_a_laptop_shows_its_package(tmp_path):
    temperatures = Thermal(write_laptop(tmp_path)).read(0.0).temperatures_c
    assert temperatures == {'acpitz': 47.0, 'x86_pkg_temp': 58.0}


def test_a_processor_chip_without_zone_is_found(tmp_path):
    write(tmp_path, 'sys/class/hwmon/hwmon0/name', 'k10temp')
    write(tmp_path, 'sys/class/hwmon/hwmon0/temp1_input', '61125')
    write(tmp_path, 'sys/class/hwmon/hwmon1/name', 'nvme')
    write(tmp_path, 'sys/class/hwmon/hwmon1/temp1_input', '99000')
    assert Thermal(tmp_path).read(0.0).temperatures_c == {'k10temp': 61.125}


def test_a_device_without_zones_says_so(tmp_path):
    reading = Thermal(tmp_path).read(0.0)
    assert not reading.temperatures_c and not reading.problems
    assert reading.absent == ('temperatures: no thermal zone in /sys/class/thermal',)


def test_a_zone_that_is_frozen_while_the_board_heats_is_not_trusted(tmp_path):
    thermal = Thermal(tmp_path)
    for step in range(31):
        write_zones(tmp_path, {'gpu-thermal': '45000', 'cpu-thermal': str(45000 + 1000 * step)})
        reading = thermal.read(10.0 * step)
        assert ('gpu-thermal' in reading.temperatures_c) == (step < 30)
    assert reading.problems == ('temperature gpu-thermal: stuck, unchanged while others moved',)


def test_a_zone_that_appears_later_is_found(tmp_path):
    thermal = Thermal(tmp_path)
    thermal.read(0.0)
    write_zones(tmp_path, {'gpu-thermal': '45000'})
    readings = [thermal.read(float(step)) for step in range(60)]
    assert readings[-1].temperatures_c == {'gpu-thermal': 45.0}


@pytest.mark.parametrize(
    ('trips', 'points'),
    [
        ({'passive': '99000', 'critical': '104500'}, TripPoints(99.0, 104.5)),
        ({'active': '70000', 'passive': '95000'}, TripPoints(95.0, None)),
        ({'hot': '100000', 'critical': '105000'}, TripPoints(None, 100.0)),
        ({'passive': '40000', 'critical': '130000'}, TripPoints(40.0, 130.0)),
        ({'active': '60000'}, None),
        ({'passive': '39900', 'critical': '130100'}, None),
        ({'passive': '-274000', 'critical': '2147483647'}, None),
        ({'passive': 'high', 'critical': ''}, None),
        ({'strange': '90000', '': '90000'}, None),
    ],
)
def test_trip_points_are_where_the_device_throttles_and_where_it_gives_up(tmp_path, trips, points):
    write_zones(tmp_path, {'cpu-thermal': '50000'})
    write_trips(tmp_path, 0, trips)
    expected = {} if points is None else {'cpu-thermal': points}
    assert Thermal(tmp_path).read(0.0).trip_points == expected


def test_of_zones_with_one_name_the_lowest_trip_points_count(tmp_path):
    for index, passive in enumerate(('95000', '85000')):
        write_zones(tmp_path, {'acpitz': '41000'}, first=index)
        write_trips(tmp_path, index, {'passive': passive})
    assert Thermal(tmp_path).read(0.0).trip_points == {'acpitz': TripPoints(85.0)}

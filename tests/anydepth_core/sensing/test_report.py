"""A sample in words."""

from anydepth_core.sensing.report import described
from anydepth_core.sensing.sample import Sample
from anydepth_core.sensing.sampler import sampler_of
from tests.anydepth_core.sensing.fake_device import write_jetson, write_laptop


def test_what_is_unknown_is_never_a_number():
    assert set(described(Sample(0.0)).values()) == {'n/a'}


def test_zero_is_a_number():
    words = described(Sample(0.0, {'gpu': 0.0}, power_w=0.0, battery=0.0, charging=False))
    assert words['Temperature gpu (C)'] == '0.0' and words['Power (W)'] == '0.00'
    assert words['Battery (%)'] == '0.0' and words['Charging'] == 'no'


def test_every_zone_rail_and_trip_point_is_told(tmp_path):
    words = described(sampler_of(write_jetson(tmp_path)).read_once())
    assert words['Temperature cpu-thermal (C)'] == '51.5'
    assert words['Trip points cpu-thermal'] == 'throttles at 99.0 C, gives up at 104.5 C'
    assert words['Rail VDD_SOC (W)'] == '1.50' and words['Power (W)'] == '7.00'
    assert words['GPU load (%)'] == '37.0' and words['CPU cap (%)'] == '76.1'
    assert words['Over-current'] == 'no' and words['Throttled'] == 'no'


def test_a_battery_is_told(tmp_path):
    words = described(sampler_of(write_laptop(tmp_path)).read_once())
    assert (words['Battery (%)'], words['Charging']) == ('64.5', 'no')

from __future__ import annotations

import pytest

from anydepth_core.sensing.power import Power
from tests.anydepth_core.sensing.fake_device import INA, OC, write, write_jetson, write_rails

AGX = {
    'VDD_GPU_SOC': ('19000', '300'),
    'VDD_CPU_CV': ('19000', '100'),
    'VIN_SYS_5V0': ('5000', '800'),
}


def test_the_input_rail_is_the_total(tmp_path):
    reading = Power(write_jetson(tmp_path)).read(0.0)
    assert reading.rails_w == {'VDD_IN': 7.0, 'VDD_CPU_GPU_CV': 2.0, 'VDD_SOC': 1.5}
    assert reading.power_w == 7.0 and not reading.problems


def test_without_an_input_rail_the_rails_are_added(tmp_path):
    write_rails(tmp_path, AGX)
    assert Power(tmp_path).read(0.0).power_w == pytest.approx(5.7 + 1.9 + 4.0)


def test_channels_without_a_wire_are_left_out(tmp_path):
    write_rails(tmp_path, {'NC': ('20', '90'), 'VDD_CPU_CV': ('19000', '100')})
    reading = Power(tmp_path).read(0.0)
    assert reading.rails_w == {'VDD_CPU_CV': 1.9} and reading.power_w == pytest.approx(1.9)


def test_another_monitor_is_no_power_rail(tmp_path):
    write_rails(tmp_path, {'VDD_IN': ('5000', '1000')})
    write(tmp_path, f'{INA}/name', 'pmic')
    assert not Power(tmp_path).read(0.0).has_rails


def test_part_of_the_rails_is_not_taken_for_the_total(tmp_path):
    write_rails(tmp_path, AGX | {'VDD_CPU_CV': ('19000', 'junk')})
    reading = Power(tmp_path).read(0.0)
    assert set(reading.rails_w) == {'VDD_GPU_SOC', 'VIN_SYS_5V0'} and reading.power_w is None
    assert reading.problems == ('power rail VDD_CPU_CV: no plausible reading',)
    write_jetson(tmp_path)
    write(tmp_path, f'{INA}/in1_input', '-5')
    reading = Power(tmp_path).read(0.0)
    assert 'VDD_SOC' in reading.rails_w and reading.power_w is None


def test_an_idle_rail_slightly_below_zero_draws_nothing(tmp_path):
    write_rails(tmp_path, {'VDD_CPU_CV': ('19000', '-8')})
    assert Power(tmp_path).read(0.0).rails_w == {'VDD_CPU_CV': 0.0}


@pytest.mark.parametrize('current', ['-5000', '900000', '99999999', ''])
def test_an_impossible_current_is_unknown(tmp_path, current):
    write_rails(tmp_path, {'VDD_IN': ('5000', current)})
    reading = Power(tmp_path).read(0.0)
    assert reading.rails_w == {} and reading.power_w is None


def test_older_kernels_show_their_rails_elsewhere(tmp_path):
    chip = 'sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0'
    for name, content in {
        'rail_name_0': 'POM_5V_IN',
        'in_voltage0_input': '5000',
        'in_current0_input': '600',
        'rail_name_1': 'POM_5V_GPU',
        'in_voltage1_input': '5000',
        'in_current1_input': '100',
    }.items():
        write(tmp_path, f'{chip}/{name}', content)
    reading = Power(tmp_path).read(0.0)
    assert reading.rails_w == {'POM_5V_IN': 3.0, 'POM_5V_GPU': 0.5} and reading.power_w == 3.0


def test_an_event_counter_that_rises_is_over_current(tmp_path):
    power = Power(write_jetson(tmp_path))
    seen = []
    for step, count in enumerate(('5', '5', '6', '6', '0', '1')):
        write(tmp_path, OC, count)
        seen.append(power.read(float(step)).over_current)
    assert seen == [False, False, True, False, False, True]


def test_without_an_alarm_the_first_count_says_nothing(tmp_path):
    write(tmp_path, OC, '5')
    power = Power(tmp_path)
    assert [power.read(float(step)).over_current for step in range(2)] == [None, False]


def test_a_raised_alarm_is_over_current(tmp_path):
    power = Power(write_jetson(tmp_path))
    seen = []
    for step, state in enumerate(('0', '1', '1', '0', 'junk')):
        write(tmp_path, f'{INA}/curr2_crit_alarm', state)
        seen.append(power.read(float(step)).over_current)
    assert seen == [False, True, True, False, False]


def test_an_event_stays_visible_for_the_hold_time(tmp_path):
    power = Power(write_jetson(tmp_path), hold_s=2.0)
    power.read(0.0)
    write(tmp_path, OC, '1')
    assert [power.read(time_s).over_current for time_s in (1.0, 2.0, 2.9, 3.0)] == [
        *(True, True, True, False)
    ]


def test_a_frozen_rail_is_not_trusted_but_an_unused_one_is(tmp_path):
    power = Power(tmp_path)
    for step in range(31):
        rails = {
            'VDD_GPU_SOC': ('19000', str(300 + 10 * step)),
            'VDD_CPU_CV': ('19000', '100'),
            'VIN_SYS_5V0': ('5000', '0'),
        }
        write_rails(tmp_path, rails)
        reading = power.read(10.0 * step)
        assert (reading.power_w is None) == (step == 30)
    assert reading.problems == ('power rail VDD_CPU_CV: stuck, unchanged while others moved',)
    assert reading.rails_w['VIN_SYS_5V0'] == 0.0


def test_a_device_without_rails_says_so(tmp_path):
    reading = Power(tmp_path).read(0.0)
    assert reading.over_current is None and reading.power_w is None and not reading.has_rails
    assert [words.split(':')[0] for words in reading.absent] == ['power rails', 'over-current']

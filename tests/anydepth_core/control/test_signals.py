import math

import numpy as np
import pytest

from anydepth_core.control.signals import sanitised, Signals, within


@pytest.mark.parametrize('value', [None, math.nan, math.inf, -math.inf, -1.0, 1e300, 'hot', [1]])
def test_an_impossible_number_is_unknown(value):
    assert within(value, (0.0, 100.0)) is None


def test_sanitising_keeps_what_is_possible():
    signals = Signals(1.0, 30.0, np.int64(2), 25.0, {'gpu': 70.0}, 9.0, 0.5, False, True)
    assert sanitised(signals, 3) == signals


def test_sanitising_drops_what_no_sensor_can_mean():
    signals = Signals(math.inf, -3.0, 1, math.nan, {'gpu': -256.0, 'cpu': 50.0}, -1.0, 55.0)
    clean = sanitised(signals, 3)
    assert math.isnan(clean.time_s)
    assert clean.temperatures_c == {'cpu': 50.0}
    assert (clean.latency_ms, clean.latency_level, clean.rate_hz) == (None, None, None)
    assert (clean.power_w, clean.battery) == (None, None)


@pytest.mark.parametrize('level', [None, -1, 3, 1.5])
def test_a_latency_of_no_known_level_is_dropped(level):
    assert sanitised(Signals(0.0, 30.0, level), 3).latency_ms is None


def test_a_flag_that_is_no_truth_value_is_unknown():
    assert sanitised(Signals(0.0, charging='yes'), 3).charging is None

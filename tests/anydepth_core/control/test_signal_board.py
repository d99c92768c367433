"""The newest of everything a controller is told; stale readings count as unknown."""

from __future__ import annotations

import pytest

from anydepth_core.control.readings import BatteryReading, FrameReport, JetsonReadings
from anydepth_core.control.signal_board import SignalBoard

UNKNOWN = BatteryReading(None, None)


def frame(latency_ms: float | None = 20.0, level: int | None = 2, dropped: int = 0) -> FrameReport:
    return FrameReport(latency_ms, level, 'auto', dropped)


def test_nothing_is_known_at_first() -> None:
    signals = SignalBoard().signals(3.0)
    assert signals.time_s == 3.0 and signals.temperatures_c == {}
    assert (signals.latency_ms, signals.battery, signals.power_w, signals.rate_hz) == (None,) * 4
    assert SignalBoard().depth_mode(0.0) == '' and SignalBoard().served_level(0.0) is None


def test_a_frame_is_told_once() -> None:
    board = SignalBoard()
    board.frame(1.0, frame(latency_ms=33.0, level=1))
    first, second = board.signals(1.1), board.signals(1.2)
    assert (first.latency_ms, first.latency_level) == (33.0, 1)
    assert (second.latency_ms, second.latency_level) == (None, None)
    assert board.served_level(1.2) == 1 and board.depth_mode(1.2) == 'auto'


def test_what_is_stale_is_unknown() -> None:
    board = SignalBoard(timeout_s=5.0)
    board.frame(0.0, frame())
    board.battery(0.0, BatteryReading(0.5, False))
    board.temperature(0.0, 'gpu', 60.0)
    board.machine(0.0, {'cpu': 50.0}, 10.0, UNKNOWN, True)
    fresh = board.signals(5.0)
    assert (fresh.battery, fresh.charging, fresh.power_w) == (0.5, False, 10.0)
    assert fresh.temperatures_c == {'gpu': 60.0, 'cpu': 50.0} and fresh.over_current is True
    stale = board.signals(5.1)
    assert (stale.battery, stale.charging, stale.power_w, stale.over_current) == (None,) * 4
    assert stale.temperatures_c == {}
    assert board.depth_mode(5.1) == '' and board.served_level(5.1) is None


def test_a_topic_goes_before_the_sensors_of_the_machine() -> None:
    board = SignalBoard()
    board.machine(0.0, {}, 10.0, BatteryReading(0.9, True), None)
    assert (board.signals(0.0).battery, board.signals(0.0).power_w) == (0.9, 10.0)
    board.battery(0.0, BatteryReading(0.4, False))
    board.jetson(0.0, JetsonReadings({'gpu': 70.0}, {'VDD_IN': 14.0, 'VDD_SOC': 3.0}))
    signals = board.signals(0.0)
    assert (signals.battery, signals.charging, signals.power_w) == (0.4, False, 14.0)
    assert signals.temperatures_c == {'gpu': 70.0}


def test_rails_without_a_total_are_added_up() -> None:
    board = SignalBoard()
    board.jetson(0.0, JetsonReadings({}, {'VDD_GPU': 4.0, 'VDD_CPU': 3.0}))
    assert board.signals(0.0).power_w == 7.0


def test_the_rate_counts_images_that_were_left_out() -> None:
    board = SignalBoard()
    for index in range(11):
        board.frame(index * 0.1, frame(dropped=2 * index))
    assert board.signals(1.0).rate_hz == pytest.approx(30.0)
    assert board.signals(3.5).rate_hz is None


def test_a_restarted_detector_counts_from_zero_again() -> None:
    board = SignalBoard()
    board.frame(0.0, frame(dropped=1000))
    board.frame(0.1, frame(dropped=0))
    assert board.signals(0.1).rate_hz == pytest.approx(10.0)

"""What battery, temperature and Jetson messages tell."""

from __future__ import annotations

import math

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from hypothesis import given
from hypothesis import strategies as st
import pytest
from sensor_msgs.msg import BatteryState, Temperature

from anydepth_core.control.readings import (
    battery_reading,
    BatteryReading,
    frame_report,
    FrameReport,
    jetson_readings,
    temperature_reading,
)

NAN = math.nan


def battery(percentage: float, **fields: float) -> BatteryState:
    """Return a message; what is not given is unmeasured, as the definition has it."""
    return BatteryState(percentage=percentage, **{'charge': NAN, 'capacity': NAN, **fields})


@pytest.mark.parametrize(
    ('message', 'fraction', 'problem'),
    [
        (battery(0.0), 0.0, ''),
        (battery(0.5), 0.5, ''),
        (battery(1.0), 1.0, ''),
        (battery(NAN), None, ''),
        (battery(NAN, charge=3.0, capacity=4.0), 0.75, ''),
        (battery(NAN, charge=5.0, capacity=4.0), None, ''),
        (battery(NAN, charge=3.0, capacity=0.0), None, ''),
        (battery(80.0), 0.8, 'percentage 80 is over 1: it is taken as percent'),
        (battery(101.0), None, 'percentage 101 is not legal: it is left out'),
        (battery(-1.0), None, 'percentage -1 is not legal: it is left out'),
        (battery(math.inf), None, 'percentage inf is not legal: it is left out'),
    ],
)
def test_a_state_of_charge_is_a_fraction_or_unknown(
    message: BatteryState, fraction: float | None, problem: str
) -> None:
    reading = battery_reading(message)
    assert reading.problem == problem
    assert reading.fraction == (None if fraction is None else pytest.approx(fraction))


@pytest.mark.parametrize(
    ('status', 'charging'), [(0, None), (1, True), (2, False), (3, False), (4, True), (9, None)]
)
def test_a_battery_charges_or_not_or_nobody_knows(status: int, charging: bool | None) -> None:
    message = battery(0.5, power_supply_status=status)
    assert battery_reading(message) == BatteryReading(0.5, charging)


@given(st.floats(width=32), st.floats(width=32), st.floats(width=32))
def test_any_battery_message_is_a_fraction_or_unknown(
    percentage: float, charge: float, capacity: float
) -> None:
    reading = battery_reading(battery(percentage, charge=charge, capacity=capacity))
    assert reading.fraction is None or 0.0 <= reading.fraction <= 1.0
    assert '\n' not in reading.problem


@pytest.mark.parametrize(
    ('value', 'expected'),
    [(45.5, 45.5), (-20.0, -20.0), (NAN, None), (math.inf, None), (-256.0, None)],
)
def test_a_temperature_is_plausible_or_unknown(value: float, expected: float | None) -> None:
    message = Temperature(temperature=value)
    assert temperature_reading(message) == ('temperature', expected)
    message.header.frame_id = 'motor'
    assert temperature_reading(message) == ('motor', expected)


def status(name: str, message: str = '', **values: str) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=name, message=message, values=pairs)


def test_jetson_diagnostics_give_temperatures_and_powers_and_others_are_passed_over() -> None:
    message = DiagnosticArray(
        status=[
            status('jetson_stats/temp/gpu', '47.5C', Warning='84'),
            status('jetson_stats: jetson_stats/temp/cpu', '50 C'),
            status('jetson_stats/temp/off', '-256C'),
            status('jetson_stats/temp/none', 'no reading'),
            status('jetson_stats/power/VDD_IN', 'ok', Power='12.3W', Average='11W'),
            status('jetson_stats/power/odd', 'ok', Power='off'),
            status('detector: image', '30.0 Hz received'),
        ]
    )
    readings = jetson_readings(message)
    assert readings.temperatures_c == {'gpu': 47.5, 'cpu': 50.0}
    assert readings.rails_w == {'VDD_IN': 12.3}


@given(st.lists(st.tuples(st.sampled_from(['temp/a', 'power/b', 'c']), st.text(), st.text())))
def test_no_text_in_diagnostics_is_fatal(entries: list[tuple[str, str, str]]) -> None:
    message = DiagnosticArray(
        status=[status(f'jetson_stats/{name}', text, Power=power) for name, text, power in entries]
    )
    readings = jetson_readings(message)
    assert all(math.isfinite(value) for value in readings.temperatures_c.values())
    assert all(math.isfinite(value) for value in readings.rails_w.values())


def stats(values: dict[str, str]) -> DiagnosticArray:
    return DiagnosticArray(status=[status('detector', 'ok', **values)])


def test_the_figures_of_an_image_are_read_and_gaps_are_unknown() -> None:
    values = {'total_ms': '31.250', 'level': '3', 'depth_mode': 'auto', 'dropped': '7'}
    assert frame_report(stats(values)) == FrameReport(31.25, 3, 'auto', 7)
    assert frame_report(stats({'level': '', 'dropped': 'x'})) == FrameReport(None, None, '', 0)


@given(st.dictionaries(st.sampled_from(['total_ms', 'level', 'dropped']), st.text()))
def test_no_figure_is_fatal(values: dict[str, str]) -> None:
    report = frame_report(stats(values))
    assert report.level is None or report.level >= 0

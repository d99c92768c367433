"""The controller while something is wrong: it says so, falls back as documented, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import math
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from sensor_msgs.msg import BatteryState, Temperature

from anydepth_core.control.profile import LevelProfile, Profile, save_profile
from anydepth_core.export.bundle import Bundle
from anydepth_core.sensing.sample import Sample
from anydepth_core.sensing.thermal import TripPoints
from anydepth_ros.conversions import stats_values
from anydepth_ros.qos import image_qos
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.controller_setup import HOT, Setup

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s

    def pass_by(self, condition: Callable[[], Any], what: str, step_s: float = 1.0) -> None:
        """Let time pass until a condition holds."""

        def passed() -> Any:
            self.time_s += step_s
            return condition()

        wait_until(passed, what)


def publisher_of(setup: Setup, kind: type, topic: str) -> Callable[[Any], None]:
    """Return a function that publishes and waits until the controller has had time to read."""
    publisher = setup.probe.create_publisher(kind, topic, image_qos('reliable', 20))
    wait_until(lambda: publisher.get_subscription_count() == 1, 'the controller listens')
    return publisher.publish


def test_a_problem_of_a_sensor_is_told_and_logged_once(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    clock, words = Clock(), 'temperature gpu: stuck, unchanged while others moved'
    setup = Setup(graph, toy_bundle, clock=clock)
    clock.pass_by(lambda: setup.sensors()[:2] == (OK, 'the sensors answer'), 'the status')
    setup.sampler.sample = Sample(0.0, {'cpu': 50.0}, battery=0.5, problems=(words,))
    clock.pass_by(lambda: setup.sensors()[:2] == (WARN, words), 'the problem')
    values = setup.sensors()[2]
    assert (values['Temperature cpu (C)'], values['Battery (%)']) == ('50.0', '50.0')
    assert values['Power (W)'] == 'n/a'
    setup.sampler.sample = Sample(0.0)
    clock.pass_by(lambda: setup.sensors()[0] == OK, 'the end of the problem')
    setup.sampler.sample = Sample(0.0, problems=(words,))
    clock.pass_by(lambda: setup.sensors()[0] == WARN, 'the problem again')
    assert capfd.readouterr().err.count(words) == 1


def test_the_sensors_are_told_at_most_once_a_second(graph: Graph, toy_bundle: Bundle) -> None:
    clock, name = Clock(), 'controller: sensors'
    setup = Setup(graph, toy_bundle, clock=clock)
    for _ in range(20):
        setup.level()
    before = setup.count[name]
    assert before <= 1
    clock.time_s += 1.0
    wait_until(lambda: setup.count[name] > before, 'the next status')
    for _ in range(20):
        setup.level()
    assert setup.count[name] == before + 1


def test_trip_points_of_the_device_are_limits_until_they_are_switched_off(
    graph: Graph, toy_bundle: Bundle
) -> None:
    clock = Clock()
    setup = Setup(graph, toy_bundle, clock=clock)
    setup.reach('2')
    setup.sampler.sample = Sample(
        0.0, {'cpu-thermal': 92.0}, trip_points={'cpu-thermal': TripPoints(99.0, 104.5)}
    )
    clock.pass_by(lambda: setup.level() != '2', 'a lower level')
    wait_until(lambda: 'cpu-thermal 92.0 C over 89.5 C soft limit by the trip' in setup.told()[1])
    # A group of sensors that falls silent takes its trip points with it.
    setup.sampler.sample = Sample(0.0, {'cpu-thermal': 92.0})
    clock.pass_by(lambda: setup.level() == '0', 'the lowest level')
    assert setup.set(trip_points=False) == (True, '')
    clock.pass_by(lambda: setup.level() == '2', 'the highest level')


def test_limits_of_a_zone_that_nobody_tells_are_a_problem(
    graph: Graph, toy_bundle: Bundle
) -> None:
    clock = Clock()
    setup = Setup(graph, toy_bundle, clock=clock)
    setup.sampler.heat(60.0)
    assert setup.set(zone_limits=['gpux:70:90']) == (True, '')
    clock.pass_by(lambda: 'zone_limits names gpux' in setup.sensors()[1], 'the problem')
    assert setup.set(zone_limits=['gpu:50:90']) == (True, '')
    clock.pass_by(lambda: setup.sensors()[0] == OK, 'no problem')
    clock.pass_by(lambda: setup.level() != '2', 'a lower level')
    wait_until(lambda: 'gpu 60.0 C over 50.0 C soft limit' in setup.told()[1], 'the reason')
    accepted, reason = setup.set(zone_limits=['gpu'])
    assert not accepted and 'write zone:soft:hard' in reason


def test_a_profile_that_is_out_of_date_is_told_once_with_the_remedy(
    graph: Graph, toy_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clock, file = Clock(), tmp_path / 'costs.yaml'
    levels = tuple(LevelProfile(str(level), 0.01, 0.011) for level in range(3))
    save_profile(Profile(levels), file)
    setup = Setup(graph, toy_bundle, clock=clock, profile=str(file))

    def told() -> str:
        setup.level()
        return stats_values(setup.decisions[-1])['Profile'] if setup.decisions else ''

    clock.pass_by(lambda: 'out of date: images take' in told(), 'the drift', step_s=4.0)
    for _ in range(5):
        clock.time_s += 4.0
        assert 'measure again with calibrate_on_start' in told()
    assert capfd.readouterr().err.count('is out of date') == 1


def test_assumed_costs_are_never_out_of_date(graph: Graph, toy_bundle: Bundle) -> None:
    clock = Clock()
    setup = Setup(graph, toy_bundle, clock=clock)
    for _ in range(30):
        setup.level()
        clock.time_s += 4.0
    wait_until(lambda: setup.decisions)
    assert stats_values(setup.decisions[-1])['Profile'] == 'assumed from the bundle'


def test_impossible_batteries_and_temperatures_change_nothing(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    setup = Setup(graph, toy_bundle, **HOT, battery_reserve=0.2)
    battery = publisher_of(setup, BatteryState, 'battery_state')
    temperature = publisher_of(setup, Temperature, 'temperature')
    # A battery that was never known is a reason for the middle of the ladder.
    setup.reach('1')
    battery(BatteryState(percentage=0.5))
    setup.reach('2')
    for value in (math.nan, math.inf, -math.inf, -1.0, -3e38, 3e38):
        battery(BatteryState(percentage=value, charge=value, capacity=value, current=value))
        temperature(Temperature(temperature=value))
        assert setup.level() == '2'
    for percentage in (80.0, 81.0, 82.0):
        battery(BatteryState(percentage=percentage))
        assert setup.level() == '2'
    told: list[str] = []
    wait_until(lambda: told.append(capfd.readouterr().err) or 'battery_state: ' in ''.join(told))
    assert ''.join(told).count('battery_state: ') == 1


def test_a_temperature_that_falls_silent_costs_levels_until_it_is_back(
    graph: Graph, toy_bundle: Bundle
) -> None:
    clock = Clock()
    setup = Setup(graph, toy_bundle, clock=clock, **HOT)
    publish = publisher_of(setup, Temperature, 'temperature')
    cool = Temperature(temperature=40.0)
    wait_until(lambda: (publish(cool), setup.level() == '2', setup.controller._board)[1])
    wait_until(lambda: setup.controller._board.temperatures_c(clock()), 'the temperature')
    setup.level()
    clock.pass_by(lambda: setup.level() == '0', 'the lowest level')
    wait_until(lambda: 'no temperature for' in setup.told()[1])
    clock.pass_by(lambda: (publish(cool), setup.level() == '2')[1], 'the highest level')


def test_another_node_that_keeps_setting_the_depth_is_named(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    setup = Setup(graph, toy_bundle)
    setup.reach('2')
    told: list[str] = []

    def warned() -> bool:
        assert setup.probe.set(depth=0) == (True, '')
        setup.level()
        told.append(capfd.readouterr().err)
        return 'keeps setting depth of /detector' in ''.join(told)

    wait_until(warned, 'the warning')
    assert '/probe keeps setting depth' in ''.join(told)


def test_our_own_changes_are_no_rival(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    setup = Setup(graph, toy_bundle)
    for level in (2, 1, 0, 1, 2, 0):
        assert setup.set(max_level=level, min_level=level) == (True, '')
        setup.reach(str(level))
    assert 'keeps setting' not in capfd.readouterr().err


def test_costs_that_cannot_be_stored_are_used_all_the_same(
    graph: Graph, toy_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').write_text('no folder')
    file = tmp_path / 'file' / 'costs.yaml'
    calibrating = {'calibrate_on_start': True, 'profile': str(file), 'calibration_frames': 10}
    setup = Setup(graph, toy_bundle, **calibrating)
    told: list[str] = []
    wait_until(
        lambda: (setup.level(), told.append(capfd.readouterr().err)) and 'but ' in ''.join(told)
    )
    (line,) = [one for one in ''.join(told).splitlines() if 'measured 3 levels' in one]
    assert f'but {file} cannot be written' in line
    setup.reach('2')


def test_without_a_clock_of_the_simulation_decisions_go_on(
    graph: Graph, toy_bundle: Bundle
) -> None:
    setup = Setup(graph, toy_bundle, use_sim_time=True, **HOT)
    setup.reach('2')
    setup.sampler.heat(95.0)
    setup.reach('0')
    wait_until(lambda: setup.sensors()[2].get('Temperature gpu (C)') == '95.0', 'the status')


@pytest.mark.parametrize('seed', range(2))
def test_any_targets_in_the_middle_of_a_run_leave_a_legal_level(
    graph: Graph, toy_bundle: Bundle, seed: int
) -> None:
    setup = Setup(graph, toy_bundle)
    changes: list[dict[str, Any]] = [
        {'deadline_ms': 1.0},
        {'mode': 'tracking', 'rate_fps': 1000.0},
        {'min_level': 100, 'max_level': 1},
        {'battery_reserve': 1.0, 'mission_s': 1e6},
        {'temperature_hard_c': 1.0},
        {'zone_limits': ['gpu:10:20']},
        {'power_budget_w': 1.0, 'battery_wh': 1e5},
        {'deadline_ms': 0.0, 'rate_fps': 0.0, 'min_level': 0},
    ]
    setup.sampler.sample = replace(Sample(0.0), temperatures_c={'gpu': 15.0}, battery=0.5)
    for step in range(2 * len(changes)):
        setup.set(**changes[(3 * step + seed) % len(changes)])
        assert setup.level() in ('0', '1', '2')

"""Every policy sees the same world, and files steer it as they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from anydepth_core.control.drawing import draw, picture_of_recording, picture_of_traces
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.replay import (
    BASELINES,
    build_scenario,
    cause,
    chosen_figures,
    kind,
    load_controller,
    OURS,
    run_recording,
    run_scenario,
    SCENARIO_NAMES,
    served_figures,
    stretches,
    with_targets,
)
from anydepth_core.control.scenarios import example_profile
from anydepth_core.control.settings import ABOVE_ZERO, ControllerSettings
from anydepth_core.control.signals import Decision, Signals
from anydepth_core.control.targets import Targets

SETTINGS = ControllerSettings()
PROFILE = Profile(
    tuple(
        LevelProfile(str(latency), latency, 1.1 * latency, None, ap)
        for latency, ap in ((10.0, 0.4), (20.0, 0.5), (40.0, 0.6))
    )
)


def short(name: str, **given) -> dict:
    scenario = replace(build_scenario(name, 0.05, 0, None, given), seconds=15.0)
    return run_scenario(scenario, SETTINGS, compare=True)


@pytest.mark.parametrize('name', SCENARIO_NAMES)
def test_the_published_law_runs_where_time_is_the_only_target(name: str) -> None:
    traces = short(name)
    assert list(traces) == [*BASELINES, OURS]
    only_time = name in ('latency_step', 'sawtooth', 'bursts', 'power_mode')
    assert (traces['published law'] is not None) == only_time
    assert {frame.level for frame in traces['always full'].frames} == {3}
    assert {frame.level for frame in traces['always base'].frames} == {0}
    if only_time:
        assert {frame.level for frame in traces['published law'].frames} <= {0, 3}


def test_without_comparing_ours_runs_alone_and_the_same() -> None:
    scenario = replace(build_scenario('bursts', 0.05, 3, None, {}), seconds=60.0)
    alone = run_scenario(scenario, SETTINGS, compare=False)
    assert list(alone) == [OURS]
    assert alone[OURS].frames == run_scenario(scenario, SETTINGS, compare=True)[OURS].frames


def test_given_targets_replace_those_of_every_step() -> None:
    scenario = build_scenario('latency_step', 0.05, 0, None, {'mode': 'deadline', 'max_level': 1})
    old = build_scenario('latency_step', 0.05, 0, None, {})
    for (start, targets), (old_start, before) in zip(scenario.schedule, old.schedule):
        assert start == old_start
        assert targets == replace(before, mode='deadline', max_level=1)
    traces = run_scenario(replace(scenario, seconds=20.0), SETTINGS, compare=False)
    assert {decision.level for decision in traces[OURS].decisions} <= {0, 1}


def test_a_profile_becomes_the_device_and_moves_the_deadlines_with_it() -> None:
    old = build_scenario('latency_step', 0.05, 0, None, {})
    new = build_scenario('latency_step', 0.05, 0, PROFILE, {})
    assert new.device.profile is PROFILE
    low, high = (example_profile().levels[index].latency_ms for index in (0, -1))
    for (_, before), (_, after) in zip(old.schedule, new.schedule):
        share = (before.deadline_ms - low) / (high - low)
        assert after.deadline_ms == pytest.approx(10.0 + 30.0 * share)


def test_heat_needs_the_energy_of_every_level() -> None:
    with pytest.raises(ValueError, match='heat needs energy_j'):
        build_scenario('heat', 0.05, 0, PROFILE, {})


def test_a_profile_that_does_not_rise_cannot_place_a_deadline() -> None:
    with pytest.raises(ValueError, match='slower than level 0'):
        build_scenario('bursts', 0.05, 0, Profile(PROFILE.levels[:1]), {})


def records(count: int = 60) -> list[Signals]:
    """Return a second each at level 2, half of it late for 45 ms, with a hot end."""
    return [
        Signals(
            float(index),
            latency_ms=40.0 + 10.0 * (index % 2),
            latency_level=2,
            temperatures_c={'gpu': 60.0 if index < count // 2 else 95.0},
        )
        for index in range(count)
    ]


def test_served_and_chosen_stand_beside_each_other() -> None:
    runs = run_recording(records(), PROFILE, Targets(deadline_ms=45.0), SETTINGS, compare=True)
    ours = runs[OURS]
    served = served_figures(ours)
    assert (served.miss_rate, served.mean_latency_ms) == (0.5, 45.0)
    assert (served.mean_level, served.mean_ap) == (2.0, pytest.approx(0.6))
    assert (served.changes_per_minute, served.same_level) == (0.0, 1.0)
    base = chosen_figures(runs['always base'])
    assert (base.miss_rate, base.same_level, base.mean_ap) == (0.0, 0.0, pytest.approx(0.4))
    assert base.mean_latency_ms == pytest.approx(45.0 / 4, rel=0.01)  # the first is not its own
    assert chosen_figures(ours).miss_rate < 0.2


def test_the_law_answers_to_recorded_heat() -> None:
    targets = Targets(deadline_ms=100.0, temperature_hard_c=90.0)
    runs = run_recording(records(), PROFILE, targets, SETTINGS, compare=False)
    levels = [decision.level for decision in runs[OURS].decisions]
    assert levels[10:30] == [2] * 20 and levels[30:] == [0] * 30


def test_one_record_with_nothing_in_it_has_no_figures() -> None:
    ours = run_recording([Signals(3.0)], PROFILE, Targets(), SETTINGS, compare=False)[OURS]
    assert set(vars(served_figures(ours)).values()) == {None}
    assert set(vars(chosen_figures(ours)).values()) == {None}


def test_reasons_that_differ_in_numbers_or_waiting_are_of_one_kind() -> None:
    reasons = [
        'level 2 of 3: gpu 79.0 C near 80.0 C soft limit',
        'level 1 of 3: gpu 79.5 C near 80.0 C soft limit',
        'level 1 of 3: 2.5 s before level 2: gpu 70.0 C near 80.0 C soft limit',
        'level 1 of 3: no temperature for 12 s',
    ]
    decisions = [Decision(1, reason, 'safety') for reason in reasons]
    assert [span[:2] for span in stretches(decisions)] == [(0, 3), (3, 4)]
    assert cause(decisions[2]) == 'gpu 70.0 C near 80.0 C soft limit'
    assert kind(decisions[3]) == 'no temperature for # s'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / 'controller.yaml'
    path.write_text(text)
    return path


def test_a_controller_file_gives_targets_and_settings(tmp_path: Path) -> None:
    pytest.importorskip('dacite')
    text = 'targets: {deadline_ms: 45, temperature_soft_c: {gpu: 80}}\nsettings: {dwell_up_s: 5}'
    given, settings = load_controller(write(tmp_path, text))
    assert settings == ControllerSettings(dwell_up_s=5.0)
    assert with_targets(Targets(min_level=1), given) == Targets(
        deadline_ms=45.0, temperature_soft_c={'gpu': 80.0}, min_level=1
    )
    assert load_controller(write(tmp_path, 'targets:\n'))[0] == {}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('target: {}', 'unknown section target; known: targets, settings'),
        ('targets: {deadline: 3}', 'unknown setting deadline'),
        ('settings: {dwell: 3}', 'unknown setting dwell'),
        ('targets: [1]', 'targets must be a mapping, not list'),
        ('settings: 3', 'settings must be a mapping, not 3'),
        ('targets: {1: 2}', 'the name of a setting must be text, not 1'),
        ('targets: {deadline_ms: [1]}', 'deadline_ms must be a number, not [1]'),
        ('targets: {deadline_ms: -1}', 'deadline_ms must be a positive number'),
        (
            'settings: {dwell_up_s: .nan}',
            'dwell_up_s must be above 0 and at most 1e+09',
        ),
        ('settings: {miss_rate: -1}', 'miss_rate must be 0 or more'),
        ('settings: {battery_taper: 0}', 'battery_taper must be above 0'),
        ('settings: {latency_window: 9999999999}', 'latency_window must be above 0 and at most'),
    ],
)
def test_a_controller_file_that_is_wrong_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    pytest.importorskip('dacite')
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        load_controller(path)
    assert str(caught.value).startswith(f'{path}: ') and message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_every_setting_at_its_least_still_gives_levels(tmp_path: Path) -> None:
    pytest.importorskip('dacite')
    least = {name: 0 for name in vars(SETTINGS) if name not in ABOVE_ZERO}
    least.update({name: 1 if name.startswith('latency') else 1e-9 for name in ABOVE_ZERO})
    _, settings = load_controller(write(tmp_path, yaml.safe_dump({'settings': least})))
    scenario = replace(build_scenario('sensor_faults', 0.05, 0, None, {}), seconds=120.0)
    trace = run_scenario(scenario, settings, compare=False)[OURS]
    assert {decision.level for decision in trace.decisions} <= {0, 1, 2, 3}


@pytest.mark.parametrize('name', ['bursts', 'battery_mission'])
def test_a_simulation_is_drawn(tmp_path: Path, name: str) -> None:
    pytest.importorskip('matplotlib')
    known = {key: trace for key, trace in short(name).items() if trace is not None}
    draw(picture_of_traces(name, known), tmp_path / 'replay.png')
    assert (tmp_path / 'replay.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.parametrize('recorded', [records(20), [Signals(3.0)], records(3)[::-1]])
def test_a_recording_is_drawn_whatever_is_known(tmp_path: Path, recorded: list[Signals]) -> None:
    pytest.importorskip('matplotlib')
    targets = Targets(deadline_ms=45.0, temperature_soft_c=80.0, temperature_hard_c=90.0)
    ours = run_recording(recorded, PROFILE, targets, SETTINGS, compare=False)[OURS]
    draw(picture_of_recording('recorded', ours), tmp_path / 'replay.png')
    assert (tmp_path / 'replay.png').read_bytes()[:4] == b'\x89PNG'

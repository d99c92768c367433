"""The scenarios are what they claim, and the loop closes as it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anydepth_core.control.figures import figures
from anydepth_core.control.plant import Battery
from anydepth_core.control.published import AlwaysLevel, PublishedPolicy, synthetic_advantages
from anydepth_core.control.scenarios import (
    battery_mission,
    bursts,
    example_profile,
    heat,
    latency_step,
    power_mode,
    run,
    sawtooth,
    Scenario,
    SCENARIOS,
)
from anydepth_core.control.signals import Decision, Signals
from anydepth_core.control.targets import Targets

TOP = len(example_profile().levels) - 1


class Recorder:
    """Cycles through the levels and keeps what it is told."""

    def __init__(self) -> None:
        self.signals: list[Signals] = []
        self.targets: list[Targets] = []

    def set_targets(self, targets: Targets) -> None:
        self.targets.append(targets)

    def decide(self, signals: Signals) -> Decision:
        self.signals.append(signals)
        return Decision(len(self.signals) % (TOP + 1), 'next one', 'accuracy')


def short(name: str) -> Scenario:
    return replace(SCENARIOS[name](), seconds=20.0)


@pytest.mark.parametrize('name', SCENARIOS)
def test_a_scenario_repeats_exactly_and_another_seed_differs(name: str) -> None:
    first, second = (run(Recorder(), short(name)) for _ in range(2))
    assert first.frames == second.frames
    assert first.decisions == second.decisions
    other = run(Recorder(), replace(short(name), seed=9))
    assert first.frames != other.frames


@pytest.mark.parametrize('name', SCENARIOS)
def test_the_profile_lists_levels_in_order_of_cost_and_gain(name: str) -> None:
    levels = SCENARIOS[name]().device.profile.levels
    for cheaper, dearer in zip(levels, levels[1:]):
        assert cheaper.latency_p95_ms < dearer.latency_p95_ms
        assert cheaper.energy_j < dearer.energy_j
        assert cheaper.ap < dearer.ap


def test_a_decision_holds_from_the_next_frame_on() -> None:
    trace = run(Recorder(), short('latency step'), first_level=TOP)
    assert trace.frames[0].level == TOP
    for decision, frame in zip(trace.decisions, trace.frames[1:]):
        assert frame.level == decision.level
    for signals, frame in zip(trace.signals, trace.frames):
        assert signals.latency_level == frame.level


def test_the_policy_hears_every_change_of_targets_before_the_frame_it_holds_for() -> None:
    policy = Recorder()
    trace = run(policy, latency_step())
    assert policy.targets == [targets for _, targets in trace.scenario.schedule]
    for frame, targets in zip(trace.frames, trace.targets):
        assert targets is policy.targets[min(int(frame.start_s // 60.0), 2)]


def test_budgets_stay_between_base_and_full() -> None:
    for scenario in (latency_step(), sawtooth()):
        budget = run(AlwaysLevel(0), scenario).budget_ms()
        levels = scenario.device.profile.levels
        assert levels[0].latency_ms < budget.min() < budget.max() < levels[-1].latency_ms


def test_the_sawtooth_climbs_and_falls_four_times() -> None:
    budget = run(AlwaysLevel(0), sawtooth()).budget_ms()
    change = np.diff(budget)
    assert (change < -5.0).sum() == 3
    assert (change[change > -5.0] >= 0).all()


def test_bursts_break_the_deadline_of_full_and_not_of_base() -> None:
    assert figures(run(AlwaysLevel(TOP), bursts())).miss_rate > 0.2
    assert figures(run(AlwaysLevel(0), bursts())).miss_rate < 0.01


def test_a_lower_power_mode_breaks_the_deadline_of_full_and_not_of_base() -> None:
    assert figures(run(AlwaysLevel(TOP), power_mode())).miss_rate > 0.35
    assert figures(run(AlwaysLevel(0), power_mode())).miss_rate < 0.01


def test_heat_is_too_much_for_full_and_not_for_base() -> None:
    full, base = (run(AlwaysLevel(level), heat()) for level in (TOP, 0))
    assert full.column('clock').min() < 0.95
    assert figures(full).seconds_over_hard > 60.0
    assert figures(base).seconds_over_soft == 0.0


def test_the_reserve_lies_between_always_full_and_always_base() -> None:
    scenario = battery_mission()
    full, base = (run(AlwaysLevel(level), scenario).frames[-1].charge for level in (TOP, 0))
    assert full + 0.02 < scenario.schedule[0][1].battery_reserve < base - 0.02


def test_an_empty_battery_ends_the_run() -> None:
    scenario = battery_mission()
    device = replace(scenario.device, battery=Battery(charge=0.01))
    trace = run(AlwaysLevel(0), replace(scenario, device=device))
    assert trace.frames[-1].charge == 0.0
    assert figures(trace).seconds < 60.0


def test_the_published_law_tracks_a_budget_and_knows_nothing_of_heat() -> None:
    profile = example_profile()
    tracking = run(PublishedPolicy(profile, None, synthetic_advantages(2000, 0)), latency_step())
    assert figures(tracking).tracking_error_ms < 1.5
    hot = run(PublishedPolicy(profile, None, synthetic_advantages(2000, 0)), heat())
    assert figures(hot).seconds_over_hard > 60.0


@pytest.mark.parametrize('starts', [(), (1.0,), (0.0, 5.0, 3.0)])
def test_a_schedule_out_of_order_is_refused(starts: tuple[float, ...]) -> None:
    schedule = tuple((start, Targets()) for start in starts)
    with pytest.raises(ValueError, match='begin with 0'):
        replace(heat(), schedule=schedule)

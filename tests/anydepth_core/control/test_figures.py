"""Figures against numbers that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.control.figures import (
    battery_optimum,
    best_mean_ap,
    causal_average,
    figures,
)
from anydepth_core.control.plant import Battery, Device, Thermal
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.published import AlwaysLevel
from anydepth_core.control.scenarios import (
    battery_mission,
    example_profile,
    heat,
    run,
    Scenario,
    Trace,
)
from anydepth_core.control.signals import Decision, Signals
from anydepth_core.control.targets import Targets

PROFILE = Profile(
    (
        LevelProfile('base', 20.0, 22.0, 0.4, 0.45),
        LevelProfile('full', 40.0, 44.0, 0.8, 0.48),
    )
)


class Script:
    """Plays levels from a list, and again from its start."""

    def __init__(self, levels: Sequence[int]) -> None:
        self._levels, self._next = list(levels), 0

    def set_targets(self, targets: Targets) -> None:
        pass

    def decide(self, signals: Signals) -> Decision:
        self._next += 1
        level = self._levels[self._next % len(self._levels)]
        return Decision(level, 'script', 'accuracy')


class Share:
    """Spends a mean energy per frame by alternating between two levels."""

    def __init__(self, profile: Profile, energy_j: float, pair: tuple[int, int]) -> None:
        self._cheap, self._dear = pair
        low, high = (profile.levels[level].energy_j or 0.0 for level in pair)
        self._share, self._debt = (energy_j - low) / (high - low), 0.0

    def set_targets(self, targets: Targets) -> None:
        pass

    def decide(self, signals: Signals) -> Decision:
        self._debt += self._share
        level = self._dear if self._debt >= 1.0 else self._cheap
        self._debt -= self._debt >= 1.0
        return Decision(level, 'share', 'energy')


def play(levels: Sequence[int], targets: Targets, **changes: object) -> Trace:
    device = Device(PROFILE, noise=0.0, **changes)  # type: ignore[arg-type]
    scenario = Scenario('by hand', device, len(levels) / 10.0 - 0.05, ((0.0, targets),))
    return run(Script(levels), scenario, levels[0])


def test_misses_cost_and_ap_are_means_over_frames() -> None:
    result = figures(play([0, 1, 1, 0], Targets(deadline_ms=30.0)))
    assert result.miss_rate == 0.5
    assert result.mean_latency_ms == pytest.approx(30.0)
    assert result.mean_energy_j == pytest.approx(0.6)
    assert result.mean_ap == pytest.approx(0.465)
    assert result.tracking_error_ms is None


def test_a_rate_is_a_deadline_too() -> None:
    assert figures(play([0, 0, 0, 1], Targets(rate_fps=30.0))).miss_rate == 0.25


def test_tracking_error_follows_the_causal_average() -> None:
    result = figures(play([0, 1], Targets(mode='tracking', deadline_ms=30.0)))
    first = 0.85 * 30.0 + 0.15 * 20.0
    second = 0.85 * first + 0.15 * 40.0
    assert result.tracking_error_ms == pytest.approx((30.0 - first + abs(second - 30.0)) / 2)


def test_without_targets_there_is_nothing_to_miss() -> None:
    result = figures(play([0, 1], Targets()))
    assert result.miss_rate is result.tracking_error_ms is None
    assert result.seconds_over_soft is result.seconds_over_hard is None


def test_changes_are_counted_per_minute_and_apart_for_the_last_third() -> None:
    still, busy = [0] * 400, [1, 0] * 100
    late, early = (figures(play(levels, Targets())) for levels in (still + busy, busy + still))
    assert late.changes_per_minute == pytest.approx(200.0, rel=0.01)
    assert late.late_changes_per_minute == pytest.approx(600.0, rel=0.02)
    assert early.changes_per_minute == pytest.approx(200.0, rel=0.01)
    assert early.late_changes_per_minute == 0.0


def test_time_above_the_limits_is_time_and_not_frames() -> None:
    targets = Targets(temperature_soft_c=49.0, temperature_hard_c=55.0)
    still = Thermal(ambient_c=40.0, resistance_c_per_w=1.0, time_constant_s=1e-3)
    result = figures(play([0] * 10 + [1] * 20, targets, thermal=still))
    assert result.max_temperature_c == pytest.approx(53.0)  # 40 C + 5 W idle + 8 W of frames
    assert result.seconds_over_soft == pytest.approx(2.0)
    assert result.seconds_over_hard == 0.0


def test_slow_frames_count_with_their_length() -> None:
    targets = Targets(temperature_soft_c=0.0)
    result = figures(play([0] * 10, targets, slowdowns=((0.0, 10.0),)))
    assert result.seconds == result.seconds_over_soft == pytest.approx(1.0)
    assert result.mean_latency_ms == pytest.approx(200.0)


def test_the_final_charge_is_the_true_one() -> None:
    trace = play([0] * 100, Targets(), battery=Battery(capacity_wh=0.1, charge=0.9))
    assert figures(trace).final_charge == pytest.approx(0.9 - 9.0 * 10.0 / 3600.0 / 0.1, abs=2e-3)


def test_an_unknown_ap_gives_no_mean() -> None:
    levels = (LevelProfile('base', 20.0, 22.0, 0.4), *PROFILE.levels[1:])
    scenario = Scenario('no ap', Device(Profile(levels)), 1.0, ((0.0, Targets()),))
    assert figures(run(AlwaysLevel(0), scenario)).mean_ap is None
    assert figures(run(AlwaysLevel(1), scenario, 1)).mean_ap == pytest.approx(0.48)


@given(st.lists(st.floats(1, 100), min_size=2, max_size=30), st.integers(1, 29))
def test_the_average_never_looks_ahead(values: list[float], cut: int) -> None:
    latency = np.array(values)
    changed = latency.copy()
    changed[cut:] += 50.0
    budget = np.full(len(values), 30.0)
    before, after = causal_average(latency, budget), causal_average(changed, budget)
    np.testing.assert_array_equal(before[:cut], after[:cut])


@given(
    st.lists(
        st.tuples(st.floats(0.1, 2.0), st.floats(0.1, 0.9), st.floats(0.01, 1.0)),
        min_size=1,
        max_size=6,
    )
)
def test_no_mix_of_levels_beats_the_best_mean_ap(rows: list[tuple[float, float, float]]) -> None:
    profile = Profile(
        tuple(LevelProfile(str(n), 10.0, 11.0, row[0], row[1]) for n, row in enumerate(rows))
    )
    energy, ap, weight = np.array(rows).T
    weight /= weight.sum()
    assert best_mean_ap(profile, float(energy @ weight) + 1e-12) >= float(ap @ weight) - 1e-9


def test_the_best_mean_ap_mixes_neighbours_and_knows_its_ends() -> None:
    assert best_mean_ap(PROFILE, 0.6) == pytest.approx(0.465)
    assert best_mean_ap(PROFILE, 5.0) == pytest.approx(0.48)
    slow = LevelProfile('slow', 30.0, 33.0, 0.9, 0.40)
    assert best_mean_ap(Profile((*PROFILE.levels, slow)), 0.85) == pytest.approx(0.48)
    with pytest.raises(ValueError, match='no level takes'):
        best_mean_ap(PROFILE, 0.3)
    with pytest.raises(ValueError, match='every level needs'):
        best_mean_ap(Profile((LevelProfile('base', 20.0, 22.0),)), 1.0)


@pytest.mark.parametrize('reserve', [0.28, 0.35])
def test_the_battery_optimum_can_be_reached_and_ends_at_the_reserve(reserve: float) -> None:
    scenario = battery_mission(reserve)
    device = scenario.device
    power_w = device.battery.sustainable_w(reserve, scenario.seconds)
    energy_j = (power_w - device.idle_w) / device.rate_hz
    levels = [level.energy_j for level in device.profile.levels]
    dear = next(level for level, energy in enumerate(levels) if energy > energy_j)
    trace = run(Share(device.profile, energy_j, (dear - 1, dear)), scenario)
    result = figures(trace)
    assert result.final_charge == pytest.approx(reserve, abs=2e-3)
    assert result.mean_ap == pytest.approx(battery_optimum(scenario), abs=2e-4)


def test_the_optimum_needs_a_reserve() -> None:
    with pytest.raises(ValueError, match='no battery reserve'):
        battery_optimum(heat())


def test_the_optimum_lies_between_base_and_full() -> None:
    levels = example_profile().levels
    assert levels[0].ap < battery_optimum(battery_mission()) < levels[-1].ap

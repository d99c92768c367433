"""The published law against its golden traces, and the policies built on it."""

from __future__ import annotations

from dataclasses import astuple
import math
from pathlib import Path

import numpy as np
import pytest

from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.published import (
    AlwaysLevel,
    FULL,
    PublishedLaw,
    PublishedPolicy,
    PublishedSettings,
    synthetic_advantages,
)
from anydepth_core.control.signals import Signals
from anydepth_core.control.targets import Targets
from tests import golden

PACK = golden.load(Path(__file__).parents[2] / 'data' / 'golden' / 'controller.npz')
CASES = sorted(PACK.meta['cases'])
PROFILE = Profile(
    tuple(
        LevelProfile(depth, latency, latency * 1.1, energy, ap)
        for depth, latency, energy, ap in (
            ('base', 25.0, 0.5, 0.45),
            ('1000-0000', 33.0, 0.7, 0.465),
            ('full', 42.0, 0.85, 0.48),
        )
    )
)


def law_of(case: str) -> PublishedLaw:
    numbers = PACK.meta['cases'][case]
    settings = PublishedSettings(
        mode=numbers['mode'],
        cost_base=numbers['l_base'],
        cost_full=numbers['l_super'],
        kp=numbers['kp'],
        ki=numbers['ki'],
        beta=numbers['beta'],
        padding=numbers['pad'],
    )
    return PublishedLaw(settings, PACK[f'warm.{case}'])


def replay(case: str) -> tuple[np.ndarray, np.ndarray]:
    law = law_of(case)
    target, costs = PACK[f'target.{case}'], (PACK[f'cost_base.{case}'], PACK[f'cost_super.{case}'])
    rows, path = [], []
    for t, advantage in enumerate(PACK[f'ahat.{case}']):
        path.append(law.path)
        following = target[min(t + 1, len(target) - 1)]
        rows.append(astuple(law.step(costs[law.path][t], target[t], following, advantage)))
    return np.array(rows), np.array(path)


@pytest.mark.parametrize('case', CASES)
def test_the_golden_trace_is_reproduced_with_the_identical_path(case: str) -> None:
    rows, path = replay(case)
    np.testing.assert_array_equal(path, PACK[f'path.{case}'])
    np.testing.assert_allclose(rows, PACK[f'trace.{case}'], rtol=0, atol=1e-9)


def test_the_policy_uses_only_the_first_and_the_last_level_and_follows_the_mean() -> None:
    policy = PublishedPolicy(
        PROFILE, Targets(deadline_ms=33.5), advantages=synthetic_advantages(700, 3)
    )
    levels, costs = [0], []
    for frame in range(600):
        costs.append(PROFILE.levels[levels[-1]].latency_ms)
        levels.append(policy.decide(Signals(frame * 0.1, latency_ms=costs[-1])).level)
    assert set(levels) == {0, 2}
    assert abs(np.mean(costs[100:]) - 33.5) < 0.5


def test_the_policy_feeds_its_law_the_advantages_in_order_and_starts_them_again() -> None:
    advantages = synthetic_advantages(100, 8)
    law = PublishedLaw(PublishedSettings('latency', 25.0, 42.0), advantages[:60])
    policy = PublishedPolicy(PROFILE, Targets(deadline_ms=33.5), advantages)
    for frame in range(90):
        cost = 42.0 if law.path == FULL else 25.0
        law.step(cost, 33.5, 33.5, advantages[60 + frame % 40])
        level = policy.decide(Signals(frame * 0.1, latency_ms=cost)).level
        assert level == (2 if law.path == FULL else 0)


def test_a_new_budget_is_followed_at_once_without_starting_afresh() -> None:
    policy = PublishedPolicy(
        PROFILE, Targets(deadline_ms=27.0), advantages=synthetic_advantages(700, 3)
    )
    level, costs = 0, []
    for frame in range(600):
        if frame == 300:
            policy.set_targets(Targets(deadline_ms=40.0))
        costs.append(PROFILE.levels[level].latency_ms)
        level = policy.decide(Signals(frame * 0.1, latency_ms=costs[-1])).level
    assert abs(np.mean(costs[100:300]) - 27.0) < 0.7
    assert abs(np.mean(costs[350:]) - 40.0) < 0.7


@pytest.mark.parametrize('cost', [None, math.nan, math.inf])
def test_an_unknown_cost_leaves_the_choice_and_does_not_poison_the_law(cost: float | None) -> None:
    advantages = synthetic_advantages(200, 1)
    policies = [PublishedPolicy(PROFILE, Targets(rate_fps=30.0), advantages) for _ in range(2)]
    for frame in range(50):
        known = Signals(frame * 0.1, latency_ms=30.0 + frame % 7)
        plain, disturbed = (policy.decide(known) for policy in policies)
        assert policies[1].decide(Signals(frame * 0.1, latency_ms=cost)) == disturbed == plain


def test_an_energy_budget_is_followed_by_the_energy_of_the_profile() -> None:
    policy = PublishedPolicy(PROFILE, None, synthetic_advantages(700, 2), energy_mj=650.0)
    level, levels = 0, []
    for frame in range(600):
        levels.append(level)
        level = policy.decide(Signals(frame * 0.1, latency_ms=30.0, latency_level=level)).level
    energies = [500.0 if level == 0 else 850.0 for level in levels]
    assert abs(np.mean(energies[100:]) - 650.0) < 10.0


def test_without_a_budget_full_runs() -> None:
    policy = PublishedPolicy(PROFILE, Targets(), synthetic_advantages(61, 0))
    assert policy.decide(Signals(0.0, latency_ms=30.0)).level == 2


def test_synthetic_advantages_resemble_the_golden_ones_and_repeat() -> None:
    values = synthetic_advantages(5000, 7)
    recorded = np.concatenate([PACK[f'ahat.{case}'] for case in CASES])
    assert abs(values.mean() - recorded.mean()) < 0.005
    assert abs(values.std() - recorded.std()) < 0.003
    np.testing.assert_array_equal(values, synthetic_advantages(5000, 7))


def test_always_level_never_moves() -> None:
    policy = AlwaysLevel(2)
    assert {policy.decide(Signals(float(t), latency_ms=t * 40.0)).level for t in range(9)} == {2}


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'mode': 'rate'}, 'not latency, fps or energy'),
        ({'cost_full': 20.0}, 'full must cost more'),
        ({'cost_base': -1.0}, 'more than 0'),
        ({'ki': 0.0}, 'above 0'),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PublishedSettings(**{'mode': 'latency', 'cost_base': 25.0, 'cost_full': 42.0, **changes})


def test_too_few_advantages_are_refused() -> None:
    with pytest.raises(ValueError, match='more than 60'):
        PublishedPolicy(PROFILE, None, synthetic_advantages(60, 0))

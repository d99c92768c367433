"""Slowdowns that the profile does not foresee: the level comes down, comes back and stays calm."""

import random

import pytest

from anydepth_core.control.climb import Climb
from anydepth_core.control.controller import Controller
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.settings import ControllerSettings
from anydepth_core.control.signals import Signals
from anydepth_core.control.targets import Targets

MS = (11.4, 14.9, 18.9, 26.3, 30.0)
DEADLINE_MS = 40.0
RATE_HZ = 30.0
TOP = len(MS) - 1


def profile(latencies_ms=MS):
    return Profile(
        tuple(LevelProfile(str(i), ms, 1.1 * ms, None, None) for i, ms in enumerate(latencies_ms))
    )


def drive(factor, seconds, believed=MS, seed=0):
    """Close the loop around true latencies of MS[level] x factor(time, level).

    Returns (time, level, late) of every frame.
    """
    noise, controller = (
        random.Random(seed),
        Controller(profile(believed), Targets(deadline_ms=DEADLINE_MS)),
    )
    time_s, level, frames = 0.0, TOP, []
    while time_s < seconds:
        latency_ms = MS[level] * factor(time_s, level) * noise.lognormvariate(0, 0.05)
        frames.append((time_s, level, latency_ms > DEADLINE_MS))
        time_s += max(1 / RATE_HZ, latency_ms / 1000)
        level = controller.decide(
            Signals(time_s, latency_ms=latency_ms, latency_level=level)
        ).level
    return frames


def during(frames, start_s, end_s=1e9):
    return [frame for frame in frames if start_s <= frame[0] < end_s]


@pytest.mark.parametrize(
    'factors',
    [
        (3.0, 3.0, 3.0, 3.0, 3.0),
        (1.6, 2.0, 2.5, 3.2, 4.0),
        (1.5, 3.0, 3.0, 3.0, 3.0),
        (1.0, 1.0, 2.5, 3.0, 3.0),
        (2.4, 2.6, 2.8, 3.0, 3.2),
    ],
)
def test_contention_is_answered_within_2_s_and_over_within_a_minute(factors):
    frames = drive(lambda now, level: factors[level] if 10 <= now < 70 else 1.0, 300)
    beside = during(frames, 12, 70)
    assert sum(late for *_, late in beside) < 0.05 * len(beside)
    assert {level for _, level, _ in during(frames, 130)} == {TOP}


@pytest.mark.parametrize('frames_long', [3, 6, 15])
@pytest.mark.parametrize('after_raise', [0, 1, 2, 10])
def test_a_burst_right_after_a_raise_does_not_keep_the_level_low(frames_long, after_raise):
    state = {'count': 0, 'raised_at': None}

    def factor(now, level):
        if now < 10:
            return 1.0
        if now < 20:
            return 3.0
        state['count'] += 1
        if level == TOP and state['raised_at'] is None:
            state['raised_at'] = state['count']
        since = state['count'] - (state['raised_at'] or state['count'] + 1)
        return 2.5 if after_raise <= since < after_raise + frames_long else 1.0

    frames = drive(factor, 150)
    assert {level for _, level, _ in during(frames, 110)} == {TOP}


def test_raises_that_fail_become_rare():
    frames = drive(lambda now, level: (1.0, 1.0, 2.5, 3.0, 3.0)[level], 600)
    levels = [level for _, level, _ in during(frames, 300)]
    raises = sum(after > before for before, after in zip(levels, levels[1:]))
    assert raises <= 15  # 3 a minute
    assert levels.count(1) > 0.9 * len(levels)
    assert sum(late for *_, late in during(frames, 300)) < 0.03 * len(levels)


def test_a_profile_that_makes_dear_levels_too_dear_is_found_out():
    believed = tuple(MS[0] * (1 + 0.9 * level) for level in range(len(MS)))
    frames = drive(lambda now, level: 1.0 if level else 1.5, 600, believed)
    assert {level for _, level, _ in during(frames, 500)} == {TOP}


def climb(start, fitting, step_s=0.25, worth_a_try=False):
    """Follow the climb's wishes at once; give the levels asked for."""
    one, current, asked = Climb(ControllerSettings()), start, []
    for fits in fitting:
        current = one.limit(fits, current, step_s, worth_a_try)
        asked.append(current)
    return asked


def test_a_fall_that_follows_another_goes_twice_as_far():
    assert climb(4, [4, 3, 3, 2]) == [4, 3, 3, 1]
    assert climb(7, [7, 6, 5, 3]) == [7, 6, 4, 0]


def test_falls_far_apart_go_as_far_as_predicted():
    assert climb(4, [4, 3, *[3] * 10, 2])[-1] == 2


def test_a_level_that_had_to_be_left_at_once_waits():
    asked = climb(0, [0, 1, 0, *[1] * 40], step_s=0.5)
    raised = [index for index, level in enumerate(asked) if level == 1]
    assert raised[0] == 1 and raised[1] * 0.5 >= 3.0


def test_a_level_that_was_never_tried_is_tried_after_a_while():
    asked = climb(2, [2] * 300, worth_a_try=True)
    first = asked.index(3)
    assert 55 <= first * 0.25 <= 65
    assert 3 not in climb(2, [2] * 300)


def test_a_try_that_something_else_forbids_does_not_hide_a_missed_deadline():
    one = Climb(ControllerSettings())
    for _ in range(250):
        asked = one.limit(2, 2, 0.25, True)
    assert asked == 3
    assert one.limit(2, 2, 0.25, True) == 3  # waits for its first frame
    assert one.limit(1, 2, 0.25, True) == 1

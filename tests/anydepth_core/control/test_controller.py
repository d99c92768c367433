from collections import deque
import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.settings import ControllerSettings
from anydepth_core.control.signals import sanitised, Signals
from anydepth_core.control.targets import Targets
from tests.anydepth_core.control.support import frames, LATENCIES_MS, profile

ANY_FLOAT = st.none() | st.floats() | st.floats(-10.0, 200.0)
SIGNALS = st.builds(
    Signals,
    time_s=st.floats() | st.floats(0.0, 100.0),
    latency_ms=ANY_FLOAT,
    latency_level=st.none() | st.integers(-2, 6),
    rate_hz=ANY_FLOAT,
    temperatures_c=st.dictionaries(st.sampled_from(['gpu', 'cpu']), ANY_FLOAT),
    power_w=ANY_FLOAT,
    battery=ANY_FLOAT | st.floats(0.0, 1.0),
    charging=st.none() | st.booleans(),
    over_current=st.none() | st.booleans(),
)
TARGETS = st.builds(
    Targets,
    mode=st.sampled_from(['deadline', 'tracking']),
    deadline_ms=st.none() | st.floats(1.0, 100.0),
    rate_fps=st.none() | st.floats(1.0, 100.0),
    temperature_soft_c=st.none() | st.floats(40.0, 80.0),
    temperature_hard_c=st.none() | st.floats(81.0, 100.0),
    power_budget_w=st.none() | st.floats(1.0, 30.0),
    battery_reserve=st.none() | st.floats(0.0, 1.0),
    mission_end_s=st.none() | st.floats(-10.0, 1e6),
    battery_wh=st.none() | st.floats(0.1, 100.0),
    min_level=st.integers(0, 6),
    max_level=st.none() | st.integers(0, 6),
)
LADDERS = st.lists(st.floats(0.1, 500.0), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(LADDERS, st.lists(st.tuples(SIGNALS, st.none() | TARGETS), max_size=25))
def test_the_output_is_legal_whatever_the_input(latencies_ms, steps):
    controller, targets = Controller(profile(latencies_ms)), Targets()
    top = len(latencies_ms) - 1
    for signals, new in steps:
        if new is not None:
            targets = new
            controller.set_targets(targets)
        decision = controller.decide(signals)
        assert 0 <= decision.level <= top
        assert targets.max_level is None or decision.level <= targets.max_level
        assert decision.reason.startswith(f'level {decision.level} of {top}: ')
        assert '\n' not in decision.reason and 'nan' not in decision.reason
        if _is_unsafe(sanitised(signals, top + 1), targets):
            assert (decision.level, decision.authority) == (0, 'safety')
        elif decision.authority != 'safety':
            highest = top if targets.max_level is None else targets.max_level
            assert decision.level >= min(top, targets.min_level, highest)


def _is_unsafe(signals, targets):
    limits = ((targets.hard_limit_c(z), c) for z, c in signals.temperatures_c.items())
    return signals.over_current or any(limit is not None and c >= limit for limit, c in limits)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), TARGETS, st.floats(0.03, 3.0), st.sampled_from([0.02, 0.1, 0.7]))
def test_changes_stay_within_the_stated_rate_under_any_noise(seed, targets, noise, step_s):
    law, random_ = ControllerSettings(), random.Random(seed)
    controller, level, changes, raises = Controller(profile(), targets, law), 4, deque(), deque()
    for step in range(int(100 / step_s)):
        time_s = step * step_s
        signals = Signals(
            time_s,
            LATENCIES_MS[level] * math.exp(random_.gauss(0.0, noise)),
            level,
            random_.uniform(1.0, 60.0),
            {'gpu': random_.gauss(75.0, 20.0 * noise)},
            random_.uniform(0.0, 30.0),
            random_.random(),
            over_current=random_.random() < 0.01,
        )
        chosen = controller.decide(signals).level
        if step > 0 and chosen != level:
            changes.append(time_s)
            if chosen > level:
                raises.append(time_s)
        while changes and changes[0] < time_s - 60.0:
            changes.popleft()
        while raises and raises[0] < time_s - 60.0:
            raises.popleft()
        assert len(changes) <= law.most_changes_per_minute(targets.mode)
        if targets.mode == 'deadline':
            assert len(raises) <= 60.0 / law.dwell_up_s + 1
        level = chosen


def test_the_highest_level_whose_tail_fits_is_taken_at_once():
    decision = Controller(profile(), Targets(deadline_ms=34.0)).decide(Signals(0.0))
    assert (decision.level, decision.authority) == (2, 'deadline')
    assert decision.reason == (
        'level 2 of 4: p95 33.0 ms fits 34.0 ms deadline, 39.6 ms of the next does not'
    )


def test_without_targets_accuracy_has_it():
    decision = Controller(profile()).decide(Signals(0.0))
    assert (decision.level, decision.authority) == (4, 'accuracy')


def test_level_0_runs_where_nothing_fits():
    decision = Controller(profile(), Targets(rate_fps=200.0)).decide(Signals(0.0))
    assert decision.level == 0 and 'even here' in decision.reason


def test_contention_lowers_the_level_within_a_second_and_leaves_when_it_ends():
    controller = Controller(profile(), Targets(deadline_ms=40.0))
    before = frames(controller, 100)
    slowed = frames(controller, 60, 1.5, start_s=10.0, level=before[-1].level)
    after = frames(controller, 400, 1.0, start_s=20.0, level=slowed[-1].level)
    assert before[-1].level == 3
    assert LATENCIES_MS[slowed[20].level] * 1.5 <= 40.0
    assert after[-1].level == 3


def test_late_frames_add_margin_until_few_are_late():
    random_, late, level = random.Random(0), 0, 3
    controller = Controller(profile(tail=1.0001), Targets(deadline_ms=40.0))
    for step in range(3000):
        latency_ms = LATENCIES_MS[level] * random_.choice([1.0] * 9 + [1.3])
        late += step > 1000 and latency_ms > 40.0
        level = controller.decide(Signals(step * 0.04, latency_ms, level)).level
    assert late / 2000 <= 0.05


@pytest.mark.parametrize('target_ms', [22.0, 28.0, 33.3, 40.0])
def test_tracking_meets_a_mean_between_two_levels_by_taking_turns(target_ms):
    controller = Controller(profile(), Targets(mode='tracking', deadline_ms=target_ms))
    decisions = frames(controller, 1500)
    ran = [LATENCIES_MS[decision.level] for decision in decisions[500:]]
    assert sum(ran) / len(ran) == pytest.approx(target_ms, rel=0.01)
    assert len(set(ran)) == 2


def test_deadline_mode_does_not_take_turns():
    controller = Controller(profile(), Targets(deadline_ms=34.0))
    assert {decision.level for decision in frames(controller, 500)} == {2}


def test_a_moved_floor_or_ceiling_holds_at_once():
    controller = Controller(profile(), Targets(deadline_ms=34.0))
    frames(controller, 10)
    controller.set_targets(Targets(deadline_ms=34.0, min_level=4))
    assert controller.decide(Signals(0.4)).level == 4
    controller.set_targets(Targets(max_level=1, min_level=3))
    decision = controller.decide(Signals(0.41))
    assert (decision.level, decision.authority) == (1, 'ceiling')


def test_safety_beats_the_floor():
    targets = Targets(temperature_hard_c=90.0, min_level=4)
    decision = Controller(profile(), targets).decide(Signals(0.0, temperatures_c={'gpu': 95.0}))
    assert (decision.level, decision.authority) == (0, 'safety')


def test_safety_does_not_wait_for_the_dwell():
    controller = Controller(profile(), Targets(temperature_hard_c=90.0))
    assert controller.decide(Signals(0.0)).level == 4
    assert controller.decide(Signals(0.01, temperatures_c={'gpu': 91.0})).level == 0


def test_a_held_change_says_what_it_waits_for():
    controller = Controller(profile(), Targets(deadline_ms=34.0))
    controller.decide(Signals(0.0))
    controller.set_targets(Targets(deadline_ms=60.0))
    assert controller.decide(Signals(0.2)).reason.startswith('level 2 of 4: 2.8 s before level 4')


@pytest.mark.parametrize('latencies_ms', [(42.0, 25.0, 30.0), (30.0, 30.0, 30.0)])
def test_a_profile_out_of_order_gives_a_level_that_fits(latencies_ms):
    controller = Controller(profile(latencies_ms), Targets(deadline_ms=34.0))
    assert controller.decide(Signals(0.0)).level == 2


@pytest.mark.parametrize('jump_s', [-1e6, 1e6])
def test_the_law_goes_on_after_a_jump_of_the_clock(jump_s):
    controller = Controller(profile(), Targets(deadline_ms=34.0))
    frames(controller, 100)
    controller.set_targets(Targets(deadline_ms=60.0))
    decisions = frames(controller, 200, start_s=jump_s, level=2)
    assert decisions[-1].level == 4


def test_drift_is_told():
    controller = Controller(profile())
    frames(controller, 2000, 1.5)
    assert controller.drift == pytest.approx(1.5, rel=0.05)


def test_equal_signals_give_equal_decisions():
    first, second = (Controller(profile(), Targets(deadline_ms=34.0)) for _ in range(2))
    assert frames(first, 200, 1.2) == frames(second, 200, 1.2)


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('temperature_filter_s', 0.0, 'above 0'),
        ('latency_confirm', 0, 'above 0'),
        ('dwell_up_s', -1.0, 'above 0'),
        ('miss_rate', float('nan'), '0 or more'),
        ('longest_step_s', float('inf'), '0 or more'),
    ],
)
def test_a_constant_that_would_break_the_law_is_refused(name, value, words):
    with pytest.raises(ValueError, match=f'{name} must be {words}'):
        ControllerSettings(**{name: value})

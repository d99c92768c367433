"""What the demo sets and when, and the simulated board."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.signals import Signals
from anydepth_core.control.targets import Targets
from anydepth_core.export.bundle import Bundle
from anydepth_core.sensing.sampler import sampler_of
from anydepth_ros.demo import course
from anydepth_ros.demo.simulated import COOL_C, HOT_C, RISE_C, SimulatedBoard, work_of, ZONE
from tests.anydepth_core.support.toy_bundle import LADDER, write_toy_bundle

HEAT = course.Part(course.HEAT, 25.0, 60.0)


@given(st.floats(1.0, 1e4))
def test_the_parts_follow_each_other_and_fill_the_time(seconds: float) -> None:
    parts = course.parts_of(seconds)
    assert [part.name for part in parts] == [course.BY_HAND, course.BUDGET, course.HEAT]
    assert parts[0].start_s == 0.0 and parts[-1].end_s == pytest.approx(seconds)
    assert [part.end_s for part in parts[:-1]] == [part.start_s for part in parts[1:]]


def test_the_depths_by_hand_go_down_the_ladder_and_back_to_full(toy_bundle: Bundle) -> None:
    assert course.depths_by_hand(toy_bundle, '') == [2, 1, 0, 'full']
    assert course.depths_by_hand(toy_bundle, 'full,1,01-1') == ['full', 1, '01-1']


def test_a_model_with_a_decoder_takes_depths_that_name_its_layers(detr_bundle: Bundle) -> None:
    assert course.depths_by_hand(detr_bundle, '1111-1d1,2') == ['1111-1d1', 2]


@pytest.mark.parametrize('levels', [1, 2])
def test_a_short_ladder_has_a_course_too(tmp_path: Path, levels: int) -> None:
    bundle = write_toy_bundle(tmp_path / 'toy', ladder=LADDER[:levels])
    depths = course.depths_by_hand(bundle, '')
    assert depths == [*reversed(range(levels)), 'full']
    assert len(course.by_hand(HEAT, depths)) == levels + 1
    assert work_of(bundle)[-1] == 1.0


def test_every_setting_lies_in_its_part() -> None:
    budgets = course.Budgets(50.0, 20.0)
    plan = [
        *course.by_hand(HEAT, ['full', 0]),
        *course.budget(HEAT, budgets),
        *course.heat(HEAT),
    ]
    assert all(HEAT.holds(setting.time_s) for setting in plan)
    deadlines = [one.value for one in plan if one.parameter == 'deadline_ms']
    assert deadlines == [50.0, 20.0, 50.0, 0.0]
    last = {one.parameter: one.value for one in course.heat(HEAT)}
    assert last['temperature_soft_c'] == last['temperature_hard_c'] == 0.0


@given(
    cheap_ms=st.floats(1.0, 1000.0),
    ratio=st.floats(1.1, 5.0),
    outliers=st.lists(st.floats(1.0, 50.0), max_size=2),
)
def test_the_dear_depth_fits_one_budget_and_the_cheap_one_both(
    cheap_ms: float, ratio: float, outliers: list[float]
) -> None:
    dear_ms = cheap_ms * ratio
    measured = [('cheap', cheap_ms)] * 10 + [('dear', dear_ms)] * 10
    measured += [('dear', factor * dear_ms) for factor in outliers]
    budgets = course.budgets_of(measured)
    assert cheap_ms < budgets.tight_ms + 0.5 < dear_ms + 1
    assert 1.5 * dear_ms < budgets.comfortable_ms < 3.1 * dear_ms


def test_one_measured_depth_is_enough_for_budgets() -> None:
    assert course.budgets_of([('only', 50.0)]) == course.Budgets(80.0, 40.0)


def test_the_board_is_read_like_any_other_device(tmp_path: Path) -> None:
    board = SimulatedBoard(tmp_path, [0.4, 1.0], HEAT)
    sampler = sampler_of(tmp_path)
    assert sampler.read_once().temperatures_c == {ZONE: COOL_C + RISE_C}
    climate = board.advance(20.0, 0)
    read = sampler.read_once().temperatures_c[ZONE]
    assert read == pytest.approx(climate.board_c, abs=1e-3)
    assert COOL_C + 0.4 * RISE_C < read < COOL_C + RISE_C == climate.undriven_c


def test_the_board_rests_where_its_surroundings_and_its_work_say(tmp_path: Path) -> None:
    board = SimulatedBoard(tmp_path, [0.4, 1.0], HEAT)
    for moment in range(49):
        climate = board.advance(float(moment), 0 if moment < 20 else None)
    assert climate.ambient_c == pytest.approx(HOT_C)
    assert climate.board_c == pytest.approx(HOT_C + 0.4 * RISE_C, abs=1.0)
    assert climate.undriven_c == pytest.approx(HOT_C + RISE_C, abs=2.0)
    assert board.ambient_c(1e3) == COOL_C
    assert board.advance(3.0, 0).board_c == climate.board_c  # a clock that goes back


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.1, 0.85), min_size=1, max_size=5), st.floats(0.0, 1.0))
def test_the_law_keeps_the_simulated_board_under_its_hard_limit(
    tmp_path_factory: pytest.TempPathFactory, cheaper: list[float], phase_s: float
) -> None:
    work = [*sorted([0.4, *cheaper]), 1.0]
    board = SimulatedBoard(tmp_path_factory.mktemp('root'), work, HEAT)
    levels = tuple(LevelProfile('full', 30 * share, 36 * share) for share in work)
    limits = Targets(temperature_soft_c=course.SOFT_C, temperature_hard_c=course.HARD_C)
    law, level, read_s, board_c = Controller(Profile(levels), limits), len(work) - 1, -1.0, 0.0
    hottest_c = undriven_c = 0.0
    for tick in range(int(HEAT.start_s * 5), int(HEAT.at(course.LIMITS_END) * 5)):
        time_s = tick / 5
        climate = board.advance(time_s, level)
        hottest_c = max(hottest_c, climate.board_c)
        undriven_c = max(undriven_c, climate.undriven_c)
        if time_s >= read_s + 1:
            read_s, board_c = time_s - phase_s % 0.2, climate.board_c
        level = law.decide(Signals(time_s, temperatures_c={ZONE: board_c})).level
    assert undriven_c > course.HARD_C > hottest_c
    assert level < len(work) - 1

"""`anydepth benchmark --node --contention`: its figures, its hogs, its report, one short run."""

from __future__ import annotations

import csv
from dataclasses import replace
import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest
from std_msgs.msg import Header

from anydepth_core.control.readings import frame_report
from anydepth_ros.benchmark.contention.figures import (
    back_under,
    Calibration,
    calibration,
    IN_A_ROW,
    onset,
    phase_figures,
    release,
    summarise,
)
from anydepth_ros.benchmark.contention.picture import draw
from anydepth_ros.benchmark.contention.report import deadline_text, format_report, to_csv, to_json
from anydepth_ros.benchmark.contention.run import interleaved
from anydepth_ros.benchmark.contention.series import (
    Answer,
    answers_of,
    BASE,
    CALM,
    CALM_AGAIN,
    FULL,
    HOGS,
    OURS,
    PHASES,
    POLICIES,
    Round,
    Told,
)
from anydepth_ros.benchmark.settings import NodeSettings, processors
from anydepth_ros.conversions import stats_message, stats_values

AP = (0.5, 0.6, 0.7)
IN_TIME, LATE, DEADLINE = 10.0, 30.0, 20.0
POLICY_PHASES = [(policy, phase) for policy in POLICIES for phase in PHASES]


def frame(published_s: float, latency_ms: float = IN_TIME, level: int | None = 2) -> Answer:
    return Answer(published_s, latency_ms, latency_ms + 5.0, level)


def a_round(*answers: Answer, policy: str = OURS, **changes: object) -> Round:
    """Return a round of 30 s with hogs from 10 s to 20 s."""
    sent = tuple(one.published_s - 1e-3 * one.age_ms for one in answers)
    one = Round(policy, 0, 10.0, 20.0, 30.0, sent, answers)
    return replace(one, **changes)  # type: ignore[arg-type]


def contended() -> Round:
    """Return a round that is late twice, is lowered, and goes back up after the hogs."""
    before = [frame(9.5)]
    hogs = [frame(10.2), frame(10.4, LATE), frame(10.6, LATE)]
    lowered = [frame(11.0 + 0.5 * number, level=0) for number in range(12)]
    stray = [frame(18.0, LATE, level=0)]
    after = [frame(20.5, level=0), frame(21.0, level=1), frame(23.0), frame(24.0)]
    told = (Told(8.0, 2, 'fits'), Told(10.7, 0, 'late'), Told(22.9, 2, 'fits'))
    return a_round(*before, *hogs, *lowered, *stray, *after, decisions=told)


@pytest.mark.parametrize(
    ('late', 'expected'),
    [
        ([False] * 30, (None, None)),
        ([True] * 30, (1, None)),
        ([True, *[False] * 10], (1, 11)),
        ([True, *[False] * 9], (1, None)),
        ([False] * 15 + [True] + [False] * 10, (16, 26)),
        ([True] + [False] * 9 + [True] + [False] * 10, (1, 21)),
    ],
)
def test_back_under_needs_ten_in_a_row_after_the_first_late_frame(
    late: list[bool], expected: tuple[int | None, int | None]
) -> None:
    assert back_under([LATE if one else IN_TIME for one in late], DEADLINE) == expected


latencies = st.lists(st.sampled_from([IN_TIME, DEADLINE, LATE]), max_size=60)


@given(latencies)
def test_back_under_is_known_at_its_frame_and_no_earlier(series: list[float]) -> None:
    first_late, back = back_under(series, DEADLINE)
    for length in range(len(series) + 1):
        seen = back_under(series[:length], DEADLINE)
        assert seen[0] == (first_late if first_late is not None and length >= first_late else None)
        assert seen[1] == (back if back is not None and length >= back else None)


@given(latencies)
def test_the_ten_frames_before_back_under_are_in_time(series: list[float]) -> None:
    first_late, back = back_under(series, DEADLINE)
    if back is not None:
        assert first_late is not None and back >= first_late + IN_A_ROW
        assert max(series[back - IN_A_ROW : back]) <= DEADLINE
    if first_late is None:
        assert all(one <= DEADLINE for one in series)


def test_answers_are_joined_by_stamp_in_the_order_of_their_publication() -> None:
    stats = {
        1_000_000_000: {'total_ms': '40.0', 'age_ms': '2500.0', 'level': '1'},
        2_000_000_000: {'total_ms': '10.0', 'age_ms': '12.0', 'level': ''},
        3_000_000_000: {'level': '1'},
        9_000_000_000: {'total_ms': '10.0', 'age_ms': '12.0', 'level': '1'},
    }
    stamps = [number * 1_000_000_000 for number in (1, 2, 3, 4)]
    first, second = answers_of(stamps, stats, began_ns=500_000_000)
    assert (first.published_s, first.level) == (pytest.approx(1.512), None)
    assert (second.published_s, second.latency_ms, second.age_ms) == (3.0, 40.0, 2500.0)


def test_the_latency_is_what_the_controller_holds_against_its_deadline() -> None:
    figures = {'total_ms': 12.5, 'age_ms': 99.0, 'inference_ms': 3.0, 'level': 1}
    message = stats_message(Header(), 'toy', figures)
    (answer,) = answers_of([0], {0: stats_values(message)}, began_ns=0)
    report = frame_report(message)
    assert (answer.latency_ms, answer.level) == (report.latency_ms, report.level) == (12.5, 1)


def test_a_frame_belongs_to_the_phase_in_which_it_was_published() -> None:
    one = a_round(frame(9.999), frame(10.0), frame(19.999), frame(20.0), frame(31.0))
    assert [len(one.answers_in(phase)) for phase in PHASES] == [1, 2, 2]
    assert [one.seconds_of(phase) for phase in PHASES] == [10.0, 10.0, 10.0]


def test_the_figures_of_a_phase_are_those_of_its_frames() -> None:
    hogs = phase_figures([contended()], HOGS, DEADLINE, AP)
    assert (hogs.policy, hogs.phase, hogs.frames, hogs.late) == (OURS, HOGS, 16, 3 / 16)
    assert hogs.latency_ms is not None and hogs.latency_ms.worst == LATE
    assert hogs.levels == {0: 13 / 16, 2: 3 / 16}
    assert hogs.mean_ap == pytest.approx((13 * 0.5 + 3 * 0.7) / 16)
    assert hogs.changes_per_minute == pytest.approx(6.0)  # one change in 10 s
    again = phase_figures([contended()], CALM_AGAIN, DEADLINE, AP)
    assert again.changes_per_minute == pytest.approx(12.0)


def test_the_figures_of_several_rounds_are_over_all_their_frames() -> None:
    rounds = [a_round(frame(11.0, LATE)), a_round(frame(12.0), frame(13.0), frame(14.0))]
    hogs = phase_figures(rounds, HOGS, DEADLINE, AP)
    assert (hogs.frames, hogs.late, hogs.changes_per_minute) == (4, 0.25, 0.0)


def test_images_without_an_answer_are_counted_as_sent() -> None:
    across = frame(10.001)  # sent in calm, answered beside the hogs
    one = a_round(across, frame(11.0), sent_s=(5.0, across.sent_s, 10.985, 11.1, 12.0))
    hogs = phase_figures([one], HOGS, DEADLINE, AP)
    assert (hogs.sent, hogs.left_out, hogs.frames) == (3, 2, 2)
    calm = phase_figures([one], CALM, DEADLINE, AP)
    assert (calm.sent, calm.left_out, calm.frames) == (2, 1, 0)
    assert (calm.late, calm.latency_ms) == (None, None)
    assert (calm.mean_ap, calm.levels) == (None, {})


def test_the_mean_ap_is_unknown_where_a_level_has_none() -> None:
    beside = a_round(frame(1.0), frame(2.0, level=None))
    assert phase_figures([beside], CALM, DEADLINE, AP).mean_ap is None
    assert phase_figures([beside], CALM, DEADLINE, AP).levels == {-1: 0.5, 2: 0.5}
    assert phase_figures([a_round(frame(1.0))], CALM, DEADLINE, (0.5, 0.6, None)).mean_ap is None


answers = st.lists(
    st.builds(
        frame,
        st.floats(0.0, 35.0),
        st.sampled_from([IN_TIME, LATE]),
        st.one_of(st.none(), st.integers(0, 2)),
    ),
    max_size=30,
).map(lambda found: sorted(found, key=lambda one: one.published_s))


@given(answers)
def test_every_frame_is_in_one_phase_and_every_share_is_one(found: list[Answer]) -> None:
    one = a_round(*found)
    phases = [phase_figures([one], phase, DEADLINE, AP) for phase in PHASES]
    assert sum(phase.frames for phase in phases) == len(found)
    for phase in phases:
        assert sum(phase.levels.values()) == pytest.approx(1.0 if phase.frames else 0.0)
        assert phase.mean_ap is None or AP[0] - 1e-9 <= phase.mean_ap <= AP[-1] + 1e-9
    changes = sum(phase.changes_per_minute / 6 for phase in phases)
    assert round(changes) == sum(a.level != b.level for a, b in zip(found, found[1:]))


def test_the_onset_tells_when_the_loop_was_late_lowered_and_back() -> None:
    found = onset(contended(), DEADLINE)
    assert (found.frames, found.first_late, found.back) == (16, 2, 13)
    assert found.first_late_ms == pytest.approx(400.0)
    assert found.lower_decided_ms == pytest.approx(700.0)
    assert found.lower_served_ms == pytest.approx(1000.0)
    assert found.back_ms == pytest.approx(5500.0)
    assert found.late_after == pytest.approx(1 / 3)


def test_a_level_that_was_low_before_the_hogs_is_no_reaction_to_them() -> None:
    one = a_round(frame(9.0, level=0), frame(11.0, LATE, level=0), decisions=(Told(11.0, 0, ''),))
    found = onset(one, DEADLINE)
    assert (found.lower_decided_ms, found.lower_served_ms) == (None, None)
    assert (found.first_late, found.back, found.late_after) == (1, None, None)


@pytest.mark.parametrize(
    ('after', 'expected'),
    [
        ([(20.5, 2), (21.0, 0)], 0.0),
        ([(20.5, 0), (21.0, 1), (24.5, 2)], 4.5),
        ([(20.5, 0), (29.0, 1)], None),
        ([], None),
    ],
)
def test_the_release_tells_when_the_top_level_ran_again(
    after: list[tuple[float, int]], expected: float | None
) -> None:
    frames = [frame(published_s, level=level) for published_s, level in after]
    assert release(a_round(frame(19.0), *frames), top=2).top_s == expected


def test_a_deadline_leaves_room_to_the_top_level_in_calm_and_to_level_0_with_hogs() -> None:
    calm = calibration([20.0] * 20, [90.0] * 20, [16.0] * 20)
    assert (calm.deadline_ms, calm.bites) == (25.0, True)
    hard = calibration([20.0] * 20, [45.0] * 20, [40.0] * 20)
    assert (hard.deadline_ms, hard.bites) == (50.0, False)
    assert 'little to control' in deadline_text(50.0, hard)
    assert 'little' not in deadline_text(25.0, calm) and '20.0 ms' in deadline_text(25.0, calm)
    assert 'as given' in deadline_text(30.0, None)


def test_a_calibration_without_an_answer_is_an_error() -> None:
    with pytest.raises(RuntimeError, match='no image was answered'):
        calibration([20.0], [], [16.0])


def test_every_round_has_every_policy_and_begins_with_another() -> None:
    played = interleaved(4)
    for number in range(4):
        assert {policy for one, policy in played if one == number} == set(POLICIES)
    assert [played[3 * number][1] for number in range(4)] == [*POLICIES, POLICIES[0]]


def played() -> list[Round]:
    """Return two rounds of every policy; full depth never comes back, base is never late."""
    full = a_round(frame(9.0), *(frame(11.0 + n / 9, LATE) for n in range(12)), policy=FULL)
    base = a_round(*(frame(float(second), level=0) for second in range(30)), policy=BASE)
    one = [contended(), full, base]
    return [*one, *(replace(this, number=1) for this in one)]


def test_the_report_shows_every_round_also_those_that_never_came_back() -> None:
    text = format_report(summarise(played(), DEADLINE, None, AP))
    lines = text.splitlines()
    (heading,) = [line for line in lines if line.startswith('since the hogs began')]
    rows = lines[lines.index(heading) + 1 :][:6]
    assert [row[:12].strip() for row in rows] == [name for name in POLICIES for _ in range(2)]
    assert '13 (5500)' in rows[0] and ' not ' in rows[2] and 'never late' in rows[4]
    assert 'in 2 of 2 hog phases that left it (2 in all), with frame 13, 13' in text
    assert text.count('back at the top level 3.0 s after the hogs') == 2


def test_the_tables_are_aligned_and_have_a_row_for_every_policy_and_phase() -> None:
    lines = format_report(summarise(played(), DEADLINE, None, AP)).splitlines()
    table = lines[: lines.index('')]
    assert len(table) == 1 + len(POLICY_PHASES)
    for (policy, phase), row in zip(POLICY_PHASES, table[1:]):
        assert row.startswith(policy) and row.index(phase) == table[0].index('phase')


def test_the_json_holds_settings_and_all_figures() -> None:
    figures = summarise(played(), DEADLINE, Calibration(16.0, 90.0, 12.0), AP)
    content = json.loads(to_json(NodeSettings(contention=2), 'toy', 'rmw', figures, played()))
    assert content['deadline_ms'] == DEADLINE and content['settings']['contention'] == 2
    assert content['calibration']['top_hogs_p50_ms'] == 90.0
    assert [(one['policy'], one['phase']) for one in content['phases']] == POLICY_PHASES
    first = {'round': 1, 'time_s': 8.0, 'level': 2, 'reason': 'fits'}
    assert content['decisions'][0] == first and len(content['decisions']) == 6
    assert [one['back'] for one in content['onsets']] == [13, 13, None, None, None, None]


def test_the_csv_holds_every_frame() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(played()))))
    assert len(rows) == sum(len(one.answers) for one in played())
    assert rows[2] == {
        'policy': OURS,
        'round': '1',
        'phase': HOGS,
        'published_s': '10.4000',
        'latency_ms': '30.000',
        'age_ms': '35.000',
        'level': '2',
    }


def test_the_picture_is_drawn_also_of_frames_beside_the_ladder_and_of_none(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib', reason='the picture needs matplotlib')
    beside = [replace(one, answers=(*one.answers, frame(29.0, level=None))) for one in played()]
    nothing = [a_round(policy=policy) for policy in POLICIES]
    for number, rounds in enumerate((played(), beside, nothing)):
        draw(rounds, DEADLINE, len(AP), 'title', tmp_path / f'{number}.png')
        assert (tmp_path / f'{number}.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'contention': -1}, '--contention -1'),
        ({'deadline': 0.0}, '--deadline 0.0'),
        ({'rounds': 0}, '--rounds 0'),
        ({'contention': 1, 'image_size': '64x48,32x16'}, 'give one size'),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        NodeSettings(**values)  # type: ignore[arg-type]
    assert '\n' not in str(refusal.value)


def test_there_is_one_hog_per_processor_unless_a_number_is_given() -> None:
    assert NodeSettings(contention=0).hogs() == processors() > 0
    assert NodeSettings(contention=3).hogs() == 3

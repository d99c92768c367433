"""The figures and the pictures of the demo."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.signals import Decision, Signals
from anydepth_core.control.targets import Targets
from anydepth_core.export.bundle import Bundle
from anydepth_core.structures import Detections
from anydepth_ros.demo import course
from anydepth_ros.demo.recording import Answered, Frame, Recording, stretches, Told
from anydepth_ros.demo.report import (
    back_under,
    budget_steps,
    conclusion,
    depths_of,
    IN_A_ROW,
    live_line,
    part_figures,
    percentiles,
    summary,
)
from anydepth_ros.demo.simulated import Climate, ZONE
from anydepth_ros.demo.timeline import draw_timeline, rows_of, short_reason
from anydepth_ros.demo.video import annotate, AnnotatedVideo
from tests.anydepth_core.support.toy_bundle import picture

DEPTHS = {0: '00-0@64', 1: '00-0@96', 2: '11-1@96', None: '01-0@96'}


def frame(time_s: float, level: int | None = 2, latency_ms: float = 30.0, count: int = 1) -> Frame:
    return Frame(time_s, DEPTHS[level], level, latency_ms, 20.0, latency_ms + 5.0, count)


def answered(time_s: float, parameter: str, value: float) -> Answered:
    return Answered(course.Setting(time_s, 'controller', parameter, value), True, 3.5)


def told_at(time_s: float, level: int, words: str, in_charge: bool = True) -> Told:
    return Told(time_s, Decision(level, f'level {level} of 2: {words}', 'deadline'), in_charge)


def recording() -> Recording:
    """Return a run of 60 s at 10 fps: a tight budget from 14 to 20 s, limits from 25 to 55 s.

    The first 7 frames after 14 s are late; the board is over its soft limit from 40 to 43 s.
    """
    frames = []
    for number in range(600):
        time_s = number / 10
        level = None if number < 20 else 0 if 14.7 <= time_s < 20 else 1 if time_s >= 40 else 2
        frames.append(frame(time_s, level, 12.0 if level == 0 else 30.0, number % 4))
    answers = [
        answered(10.0, 'deadline_ms', 50.0),
        answered(14.0, 'deadline_ms', 20.0),
        answered(20.0, 'deadline_ms', 50.0),
        answered(25.0, 'deadline_ms', 0.0),
        answered(25.0, 'temperature_soft_c', 90.0),
        answered(25.0, 'temperature_hard_c', 95.0),
        answered(55.0, 'temperature_soft_c', 0.0),
        answered(55.0, 'temperature_hard_c', 0.0),
    ]
    told = [
        told_at(5.0, 2, 'nothing asks for less', False),
        told_at(10.1, 2, 'p95 33.0 ms fits 50.0 ms deadline'),
        told_at(14.6, 0, 'p95 14.0 ms fits 20.0 ms deadline'),
        told_at(15.6, 0, 'p95 13.0 ms fits 20.0 ms deadline'),
        told_at(20.0, 2, 'p95 33.0 ms fits 50.0 ms deadline'),
        told_at(40.0, 1, f'{ZONE} 91.0 C over 90.0 C soft limit'),
    ]
    climate = [
        Climate(number / 5, 24.0, 91.0 if 200 <= number < 215 else 74.0, 96.0)
        for number in range(300)
    ]
    return Recording(course.parts_of(60.0), frames, answers, told, climate, 605, 600, 4, 2.5)


def test_the_live_line_shows_the_last_second() -> None:
    line = live_line(recording(), 43.0)
    parts = ('43 s', 'heat', 'frames in  605', 'depth 00-0@96', 'p50  30.0', 'soft limit')
    for words in parts:
        assert words in line, line
    assert 'depth -   by hand' in live_line(Recording(course.parts_of(60.0)), 1.0)


def test_the_summary_tells_each_depth_and_each_part_apart(toy_bundle: Bundle) -> None:
    content = json.loads(summary(recording(), toy_bundle, 'clip.mp4'))
    assert (content['frames'], content['dropped'], content['images_in']) == (600, 4, 605)
    assert content['fps'] == pytest.approx(10.0)
    assert list(content['depths']) == ['11-1@96', '01-0@96', '00-0@96', '00-0@64']
    assert content['depths']['00-0@64']['latency_ms_p50'] == 12.0
    assert content['depths']['00-0@64']['age_ms_p50'] == 17.0
    assert {name: part['frames'] for name, part in content['parts'].items()} == {
        'by hand': 100,
        'budget': 150,
        'heat': 350,
    }
    assert content['settings'][1]['value'] == 20.0
    assert content['ros_distro'] and content['versions']['rclpy']


def test_a_part_has_its_budget_its_temperatures_its_changes_and_its_reasons() -> None:
    by_hand, budget, heat = (part_figures(recording(), part) for part in course.parts_of(60.0))
    assert by_hand['share_over_budget'] is by_hand['seconds_over_soft_limit'] is None
    assert budget['share_over_budget'] == pytest.approx(7 / 150, abs=1e-4)
    assert [part['level_changes'] for part in (by_hand, budget, heat)] == [1, 2, 1]
    assert heat['share_over_budget'] is None and heat['highest_temperature_c'] == 91.0
    assert heat['seconds_over_soft_limit'] == pytest.approx(3.0)
    assert heat['seconds_over_hard_limit'] == 0.0
    assert [one['level'] for one in budget['reasons']] == [2, 0, 2]
    assert [one['time_s'] for one in heat['reasons']] == [40.0]
    assert by_hand['reasons'] == [], 'the controller is not in charge there'


def test_a_budget_step_tells_when_the_latency_was_back_under_it() -> None:
    steps = budget_steps(recording())
    assert [step['budget_ms'] for step in steps] == [50.0, 20.0, 50.0]
    assert [step['back_under_after_frames'] for step in steps] == [0, 7 + IN_A_ROW, 0]
    assert steps[1]['back_under_after_s'] == pytest.approx(0.1 * (7 + IN_A_ROW - 1))
    assert '20 ms: latency back under it after 12 frames' in conclusion(recording())


@pytest.mark.parametrize(
    ('latencies_ms', 'frames'),
    [([], None), ([9.0] * 4, None), ([9.0] * 5, 0), ([30.0] + [9.0] * 5, 6), ([30.0] * 9, None)],
)
def test_back_under_a_budget_takes_some_frames_in_a_row(
    latencies_ms: list[float], frames: int | None
) -> None:
    assert back_under(latencies_ms, 10.0) == frames


def test_depths_are_listed_dearest_first_with_or_without_a_decoder() -> None:
    given = ['0000-0d4@640', '1111-1d1@640', '0000-0d6@640', '1111-1d6@640', '1111-1d6@480x640']
    expected = [
        '1111-1d6@480x640',
        '1111-1d6@640',
        '1111-1d1@640',
        '0000-0d6@640',
        '0000-0d4@640',
    ]
    assert depths_of([Frame(0, depth, 0, 1, 1, 1, 1) for depth in given]) == expected
    plain = ['0000-0000@320', '1111-1111@256', '1111-1111@320']
    assert depths_of([Frame(0, depth, 0, 1, 1, 1, 1) for depth in plain]) == plain[::-1]


def test_the_rows_of_the_conclusion_stand_under_their_heading() -> None:
    for depth in ('11-1', '1111-1d6@480x640', '1111-1d6@1024x1280'):
        frames = [Frame(n / 10, depth, None, 1234.5, 1200.0, 1300.0, 12) for n in range(3)]
        text = conclusion(Recording(course.parts_of(60.0), frames))
        _, heading, row = text.splitlines()
        assert row.split() == [depth, '3', '1234.5', '1234.5', '1200.0', '12.00']
        assert len(row) == len(heading)
        for title, figure in (('frames', '3'), ('network ms p50', '1200.0')):
            end = heading.index(title) + len(title)
            assert row[:end].endswith(figure)


def test_a_run_without_a_frame_has_a_summary_too(toy_bundle: Bundle) -> None:
    empty = Recording(course.parts_of(60.0))
    assert json.loads(summary(empty, toy_bundle, 'clip.mp4'))['fps'] == 0.0
    assert percentiles([]) == (0.0, 0.0)
    assert stretches([]) == []


def test_the_rows_of_the_picture_are_the_ladder_over_what_is_beside_it(toy_bundle: Bundle) -> None:
    rows = rows_of(recording(), toy_bundle)
    assert list(rows) == ['01-0@96', '00-0@64', '00-0@96', '11-1@96']
    assert [words.split()[1] for words in rows.values()] == ['-', '0', '1', '2']


def test_the_words_of_the_law_become_short_in_the_picture() -> None:
    profile = Profile((LevelProfile('base', 10.0, 12.0), LevelProfile('full', 30.0, 36.0)))
    reasons = [
        Controller(profile, targets).decide(Signals(0.0, temperatures_c={ZONE: 92.0}))
        for targets in (
            Targets(),
            Targets(deadline_ms=20.0),
            Targets(deadline_ms=5.0),
            Targets(temperature_soft_c=90.0),
            Targets(temperature_hard_c=91.0),
        )
    ]
    assert [short_reason(one) for one in reasons] == [
        'nothing asks for less',
        '12 ms fits 20 ms',
        '12 ms over 5 ms',
        'over 90 °C',
        'at its 91 °C',
    ]


@pytest.mark.parametrize('count', [1, 2, 120, 600])
def test_the_timeline_is_a_picture_however_early_the_run_ended(
    tmp_path: Path, toy_bundle: Bundle, count: int
) -> None:
    path, run = tmp_path / 'out' / 'timeline.png', recording()
    del run.frames[count:]
    last_s = run.frames[-1].time_s
    run.climate = [point for point in run.climate if 0 < point.time_s <= last_s]
    run.answers = [one for one in run.answers if one.setting.time_s <= last_s]
    run.told = [one for one in run.told if one.time_s <= last_s]
    draw_timeline(run, toy_bundle, path)
    image = cv2.imread(str(path))
    assert image.shape[1] > 1000 and image.std() > 5
    assert [file.name for file in path.parent.iterdir()] == ['timeline.png']


def test_the_video_has_every_frame_enlarged_and_annotated(tmp_path: Path) -> None:
    path = tmp_path / 'out' / 'annotated.mp4'
    video = AnnotatedVideo(path, 10.0, ['red'])
    found = Detections(
        np.array([[8, 40, 60, 90]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
    )
    for _ in range(5):
        video.add(picture(), found, 'depth 11-1')
    video.close()
    assert [file.name for file in path.parent.iterdir()] == ['annotated.mp4']
    capture = cv2.VideoCapture(str(path))
    frames = [capture.read() for _ in range(6)]
    assert [good for good, _ in frames] == [True] * 5 + [False]
    assert frames[0][1].shape[:2] == (576, 576)
    assert annotate(picture(), found, '', ['red'])[300, 48].any(), (
        'left edge of the box, six times enlarged'
    )

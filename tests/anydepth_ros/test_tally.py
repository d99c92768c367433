"""The counts of one camera, with a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise
import threading

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_ros.tally import KEPT, LONGEST_REASON, Tally


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


def test_a_new_tally_says_never() -> None:
    report = Tally(Clock()).report()
    assert (report.received, report.answered, report.too_old, report.rejected) == (0, 0, 0, 0)
    assert (report.received_hz, report.answered_hz, report.waiting_s) == (0, 0, 0)
    never = (report.received_ago_s, report.answered_ago_s, report.reason_age_s, report.age_ms)
    assert never == (None, None, None, None)
    assert (report.last_age_ms, report.latency_ms, report.too_old_ago_s) == (None, None, None)
    assert report.reason == ''


def test_each_fate_is_counted_apart() -> None:
    tally = Tally(Clock())
    for _ in range(10):
        tally.received()
    for _ in range(5):
        tally.answered(total_ms=20.0, age_ms=30.0)
    for _ in range(3):
        tally.too_old(age_ms=500.0)
    tally.rejected('bad')
    report = tally.report()
    assert (report.received, report.answered, report.too_old, report.rejected) == (10, 5, 3, 1)
    assert tally.losses() == (3, 1)


def test_rates_are_those_of_the_window() -> None:
    clock = Clock()
    tally = Tally(clock)
    for index in range(300):  # 30 Hz for 10 s, every third answered
        clock.tick(1 / 30)
        tally.received()
        if index % 3 == 0:
            tally.answered(20.0, 30.0)
    report = tally.report(window_s=5.0)
    assert report.received_hz == pytest.approx(30, rel=0.02)
    assert report.answered_hz == pytest.approx(10, rel=0.04)


def test_rates_fall_to_zero_when_images_stop() -> None:
    clock = Clock()
    tally = Tally(clock)
    for _ in range(150):
        clock.tick(1 / 30)
        tally.received()
    clock.tick(2.5)
    assert tally.report().received_hz == pytest.approx(15, rel=0.02)
    clock.tick(2.6)
    assert tally.report().received_hz == 0


def test_a_rate_is_right_before_the_window_is_full() -> None:
    clock = Clock()
    tally = Tally(clock)
    for _ in range(60):
        clock.tick(1 / 30)
        tally.received()
    assert tally.report(window_s=5.0).received_hz == pytest.approx(30, rel=0.02)


def test_the_first_image_is_no_burst() -> None:
    clock = Clock()
    tally = Tally(clock)
    clock.tick(1e-4)
    tally.received()
    assert tally.report().received_hz == 1


def test_a_rate_beyond_what_is_kept_is_still_right() -> None:
    clock = Clock()
    tally = Tally(clock)
    for _ in range(4 * KEPT):
        clock.tick(1e-3)
        tally.received()
    assert tally.report(window_s=5.0).received_hz == pytest.approx(1000, rel=0.01)


def test_silence_is_counted_from_the_last_event() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.received()
    clock.tick(0.5)
    tally.answered(500.0, 510.0)
    clock.tick(2.0)
    report = tally.report()
    assert (report.received_ago_s, report.waiting_s) == (2.5, 2.5)
    assert (report.answered_ago_s, report.unanswered_s) == (2.0, 2.0)


def test_ages_and_latency_are_those_of_the_window() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.answered(total_ms=9000.0, age_ms=9000.0)
    clock.tick(6.0)
    for value in range(1, 101):
        tally.answered(total_ms=float(value), age_ms=float(1000 + value))
    tally.too_old(age_ms=5000.0)
    report = tally.report(window_s=5.0)
    assert report.latency_ms == pytest.approx(95.05)
    assert report.age_ms == 1051.0
    assert report.last_age_ms == 5000.0


def test_the_last_age_outlives_the_window() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.answered(20.0, -30.0)
    clock.tick(60.0)
    report = tally.report()
    assert (report.age_ms, report.latency_ms, report.last_age_ms) == (None, None, -30.0)


def test_the_last_rejection_is_kept_as_one_short_line() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.rejected('first')
    tally.rejected('second\n  line ' + 'x' * 1_000_000)
    clock.tick(3.0)
    report = tally.report()
    assert report.reason.startswith('second line xxx')
    assert len(report.reason) == LONGEST_REASON
    assert report.reason_age_s == 3.0


def test_restart_keeps_totals_and_forgets_the_rest() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.received()
    tally.answered(20.0, 30.0)
    tally.too_old(500.0)
    tally.rejected('bad')
    clock.tick(3600.0)
    tally.restart()
    clock.tick(1.0)
    report = tally.report()
    assert (report.received, report.answered, report.too_old, report.rejected) == (1, 1, 1, 1)
    assert (report.received_hz, report.answered_hz) == (0, 0)
    assert (report.waiting_s, report.unanswered_s) == (1.0, 1.0)
    assert (report.reason, report.reason_age_s, report.too_old_ago_s) == ('', None, None)
    assert (report.age_ms, report.last_age_ms, report.latency_ms) == (None, None, None)
    assert (report.received_ago_s, report.answered_ago_s) == (3601.0, 3601.0)


def test_a_rate_after_a_restart_counts_only_what_came_since() -> None:
    clock = Clock()
    tally = Tally(clock)
    for _ in range(100):
        clock.tick(0.01)
        tally.received()
    tally.restart()
    for _ in range(20):
        clock.tick(0.1)
        tally.received()
    assert tally.report().received_hz == pytest.approx(10)


def test_no_count_is_lost_between_threads() -> None:
    tally, rounds, threads = Tally(), 2000, 4
    begin = threading.Barrier(threads + 1)

    def hammer() -> None:
        begin.wait(10)
        for index in range(rounds):
            tally.received()
            tally.answered(1.0, 2.0)
            tally.too_old(3.0)
            tally.rejected(f'reason {index}')

    hammers = [threading.Thread(target=hammer) for _ in range(threads)]
    for thread in hammers:
        thread.start()
    begin.wait(10)
    reports = []
    while any(thread.is_alive() for thread in hammers):
        reports.append(tally.report())
        tally.restart()
    for thread in hammers:
        thread.join(10)
    reports.append(tally.report())
    last = reports[-1]
    assert last.received == last.answered == last.too_old == last.rejected == rounds * threads
    for before, after in pairwise(reports):
        assert 0 <= after.received - after.answered <= threads
        assert before.received <= after.received


EVENTS = st.sampled_from(['received', 'answered', 'too_old', 'rejected', 'restart'])


@given(
    st.lists(st.tuples(EVENTS, st.floats(0, 1e6), st.floats()), max_size=40), st.floats(0.1, 60)
)
def test_a_report_is_always_consistent(
    events: list[tuple[str, float, float]], window_s: float
) -> None:
    clock = Clock()
    tally = Tally(clock)
    for event, wait_s, value in events:
        clock.tick(wait_s)
        arguments: dict[str, tuple[object, ...]] = {
            'answered': (abs(value), value),
            'too_old': (value,),
            'rejected': (str(value),),
        }
        getattr(tally, event)(*arguments.get(event, ()))
    report = tally.report(window_s)
    names = [event for event, *_ in events]
    counted = (report.received, report.answered, report.too_old, report.rejected)
    assert counted == tuple(
        names.count(n) for n in ('received', 'answered', 'too_old', 'rejected')
    )
    assert min(report.received_hz, report.answered_hz, report.waiting_s) >= 0
    assert (report.received_ago_s is None) == ('received' not in names)
    assert report.received_ago_s is None or report.waiting_s <= report.received_ago_s

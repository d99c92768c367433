"""Signals while a run is on: noted in a step, raised outside of it."""

import os
import signal
import threading

import pytest

from anydepth_core.train import interruption
from anydepth_core.train.interruption import ASKING, Interruption, Stopped


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """What starts tests in the background may have told them to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ask(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize('number', ASKING)
def test_signal_outside_of_a_step_stops_at_once(number):
    with Interruption(), pytest.raises(Stopped) as stop:
        ask(number)
    assert stop.value.number == number


def test_signal_in_a_step_is_noted_and_its_echo_too():
    with Interruption() as run, run.held():
        ask(signal.SIGINT)
        ask(signal.SIGTERM)
    assert run.asked == signal.SIGINT


def test_second_signal_some_time_later_stops_at_once(monkeypatch):
    with Interruption() as run, pytest.raises(Stopped), run.held():
        ask()
        monkeypatch.setattr(interruption, 'SAME_S', 0.0)
        ask()


def test_handlers_are_those_of_before_afterwards():
    before = [signal.getsignal(number) for number in (*ASKING, signal.SIGCHLD)]
    with Interruption() as run, run.step():
        pass
    assert [signal.getsignal(number) for number in (*ASKING, signal.SIGCHLD)] == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as run:
            ask(signal.SIGINT)
        assert run.asked is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_the_handlers_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with Interruption() as run, run.step():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_dying_process_is_told_of_after_the_step():
    done = []

    def torchs(number, frame):
        raise RuntimeError('DataLoader worker is killed')

    before = signal.signal(signal.SIGCHLD, torchs)
    try:
        with pytest.raises(RuntimeError, match='worker'), Interruption().step():
            ask(signal.SIGCHLD)
            done.append('weights changed')
        assert done and signal.getsignal(signal.SIGCHLD) is torchs
    finally:
        signal.signal(signal.SIGCHLD, before)

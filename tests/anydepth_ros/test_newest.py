"""The worker thread: newest item wins, sources take turns."""

from __future__ import annotations

import threading

from anydepth_ros.newest import NewestWorker

PATIENCE_S = 20.0


class Handler:
    """Keeps what it was given; waits in ``handle`` while the gate is closed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.gate, self.started = threading.Event(), threading.Semaphore(0)
        self.handled = threading.Semaphore(0)

    def __call__(self, source: str, item: int) -> None:
        self.seen.append((source, item))
        self.started.release()
        self.gate.wait(PATIENCE_S)
        self.handled.release()

    def wait(self, times: int) -> None:
        for _ in range(times):
            assert self.handled.acquire(timeout=PATIENCE_S)


def test_items_that_find_the_thread_idle_are_all_handled() -> None:
    handler = Handler()
    handler.gate.set()
    worker = NewestWorker(handler)
    for item in range(5):
        assert not worker.offer('', item)
        handler.wait(1)
    assert worker.stop()
    assert [item for _, item in handler.seen] == [0, 1, 2, 3, 4]


def test_a_busy_thread_gets_only_the_newest_and_says_what_it_replaced() -> None:
    handler = Handler()
    worker = NewestWorker(handler)
    worker.offer('', 0)
    assert handler.started.acquire(timeout=PATIENCE_S)
    assert [worker.offer('', item) for item in (1, 2, 3, 4)] == [False, True, True, True]
    handler.gate.set()
    handler.wait(2)
    assert worker.stop()
    assert [item for _, item in handler.seen] == [0, 4]


def test_a_fast_source_does_not_starve_a_slow_one() -> None:
    handler = Handler()
    worker = NewestWorker(handler)
    worker.offer('fast', 0)
    assert handler.started.acquire(timeout=PATIENCE_S)
    worker.offer('fast', 1)
    worker.offer('slow', 0)
    worker.offer('fast', 2)
    worker.offer('third', 0)
    handler.gate.set()
    handler.wait(4)
    assert worker.stop()
    assert handler.seen == [('fast', 0), ('slow', 0), ('third', 0), ('fast', 2)]


def test_stop_forgets_the_waiting_item_and_later_ones() -> None:
    handler = Handler()
    worker = NewestWorker(handler)
    worker.offer('', 0)
    assert handler.started.acquire(timeout=PATIENCE_S)
    worker.offer('', 1)
    assert not worker.stop(timeout_s=0.01)
    handler.gate.set()
    assert worker.stop()
    assert not worker.offer('', 2)
    assert [item for _, item in handler.seen] == [0]


def test_the_thread_begins_with_what_it_is_told() -> None:
    handler, threads = Handler(), []
    handler.gate.set()
    worker = NewestWorker(handler, 'pinned', lambda: threads.append(threading.current_thread()))
    worker.offer('', 0)
    handler.wait(1)
    assert worker.stop()
    assert [thread.name for thread in threads] == ['pinned']


class Queue:
    """A source that keeps its newest item; counts how often it was asked and told to listen."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}
        self.listening = threading.Event()

    def take(self, source: str) -> int | None:
        return self.items.pop(source, None)

    def listen(self, on: bool) -> None:
        (self.listening.set if on else self.listening.clear)()


def pulling(handler: Handler, queue: Queue, *sources: str) -> NewestWorker[int]:
    return NewestWorker(handler, sources=sources, take=queue.take, listen=queue.listen)


def test_the_newest_item_is_taken_when_the_thread_is_free() -> None:
    handler, queue = Handler(), Queue()
    worker = pulling(handler, queue, 'front')
    assert queue.listening.wait(PATIENCE_S)
    worker.offer('front', 0)
    assert handler.started.acquire(timeout=PATIENCE_S)
    assert not queue.listening.is_set()
    for item in (1, 2, 3):
        queue.items['front'] = item
    handler.gate.set()
    handler.wait(2)
    assert queue.listening.wait(PATIENCE_S)
    assert worker.stop()
    assert handler.seen == [('front', 0), ('front', 3)]


def test_sources_that_are_taken_from_take_turns() -> None:
    handler, queue = Handler(), Queue()
    queue.items = {'front': 0, 'rear': 0, 'side': 0}
    handler.gate.set()
    worker = pulling(handler, queue, 'front', 'rear', 'side')
    handler.wait(3)
    assert queue.listening.wait(PATIENCE_S)
    handler.gate.clear()
    worker.offer('rear', 1)
    for _ in range(4):
        assert handler.started.acquire(timeout=PATIENCE_S)
    queue.items = {'rear': 2, 'side': 2, 'front': 2}
    handler.gate.set()
    handler.wait(4)
    assert worker.stop()
    assert [source for source, _ in handler.seen] == [
        'front',
        'rear',
        'side',
        'rear',
        'front',
        'side',
        'rear',
    ]


def test_a_thread_that_waits_for_items_can_be_stopped() -> None:
    queue = Queue()
    worker = pulling(Handler(), queue, 'front')
    assert queue.listening.wait(PATIENCE_S)
    assert worker.stop()

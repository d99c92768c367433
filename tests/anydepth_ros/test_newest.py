"""The worker thread: newest item wins."""

from __future__ import annotations

import threading

from anydepth_ros.newest import NewestWorker


def test_items_that_find_the_thread_idle_are_all_handled() -> None:
    seen: list[int] = []
    handled = threading.Semaphore(0)

    def handle(item: int) -> None:
        seen.append(item)
        handled.release()

    worker = NewestWorker(handle)
    for item in range(5):
        worker.offer(item)
        assert handled.acquire(timeout=10)
    assert worker.stop()
    assert (seen, worker.dropped) == ([0, 1, 2, 3, 4], 0)


def test_a_busy_thread_gets_only_the_newest_and_drops_are_counted() -> None:
    seen: list[int] = []
    gate, started, ended = threading.Event(), threading.Event(), threading.Event()

    def handle(item: int) -> None:
        seen.append(item)
        started.set()
        gate.wait(10)
        if item == 4:
            ended.set()

    worker = NewestWorker(handle)
    worker.offer(0)
    assert started.wait(10)
    for item in (1, 2, 3, 4):
        worker.offer(item)
    gate.set()
    assert ended.wait(10)
    assert worker.stop()
    assert (seen, worker.dropped) == ([0, 4], 3)


def test_stop_forgets_the_waiting_item_and_later_ones() -> None:
    seen: list[int] = []
    gate, started = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        seen.append(item)
        started.set()
        gate.wait(10)

    worker = NewestWorker(handle)
    worker.offer(0)
    assert started.wait(10)
    worker.offer(1)
    assert not worker.stop(timeout_s=0.01)
    gate.set()
    assert worker.stop()
    worker.offer(2)
    assert seen == [0]

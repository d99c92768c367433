"""Newest item wins: a worker thread with room for one waiting item. Plain Python, no ROS."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestWorker(Generic[Item]):
    """Hands items to a function in a thread of its own.

    A waiting item is replaced by a newer one and counted in ``dropped``.
    """

    def __init__(self, handle: Callable[[Item], None], name: str = 'worker') -> None:
        """Start the thread.

        Args:
            handle: called with one item after the other; it must not raise.
            name: of the thread, for debuggers.
        """
        self.dropped = 0
        self._handle = handle
        self._waiting: list[Item] = []
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> None:
        """Leave an item for the thread and return at once."""
        with self._changed:
            if self._stopped:
                return
            self.dropped += len(self._waiting)
            self._waiting = [item]
            self._changed.notify()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Finish the item in work, forget a waiting one; return whether the thread ended."""
        with self._changed:
            self._stopped = True
            self._waiting = []
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped:
                    return
                item = self._waiting.pop()
            self._handle(item)

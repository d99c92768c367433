"""Newest item wins: a worker thread with room for one waiting item of each source. No ROS."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestWorker(Generic[Item]):
    """Hands items to a function in a thread of its own.

    Each source has one place to wait; a newer item replaces the waiting one of its source. The
    sources take turns: the one that was served least recently is next.
    """

    def __init__(
        self,
        handle: Callable[[str, Item], None],
        name: str = 'worker',
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread.

        Args:
            handle: called with a source and its item, one after the other; it must not raise.
            name: of the thread, for debuggers.
            begin: called first in the thread.
        """
        self._handle = handle
        self._begin = begin
        self._waiting: dict[str, Item] = {}
        self._served: dict[str, int] = {}  # source -> the turn in which it was served last
        self._turn = 0
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, source: str, item: Item) -> bool:
        """Leave an item for the thread; return whether it replaced a waiting one."""
        with self._changed:
            if self._stopped:
                return False
            replaced = source in self._waiting
            self._waiting[source] = item
            self._changed.notify()
        return replaced

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Finish the item in work, forget waiting ones; return whether the thread ended."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._begin()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped:
                    return
                source = min(self._waiting, key=lambda name: self._served.get(name, 0))
                item = self._waiting.pop(source)
                self._turn += 1
                self._served[source] = self._turn
            self._handle(source, item)
            del item  # an image must not stay in memory until the next one comes

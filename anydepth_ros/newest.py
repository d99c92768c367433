"""Newest item wins: a worker thread that is given the newest item of each source. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestWorker(Generic[Item]):
    """Hands items to a function in a thread of its own.

    An item is offered by another thread, or taken by this one from where it waits: then nobody
    spends time on the items that come while the thread is busy. An offered item waits in a place
    of its source; a newer one of that source replaces it. The sources take turns: the one that
    was served least recently is next.
    """

    def __init__(
        self,
        handle: Callable[[str, Item], None],
        name: str = 'worker',
        begin: Callable[[], None] = lambda: None,
        sources: Sequence[str] = (),
        take: Callable[[str], Item | None] = lambda source: None,
        listen: Callable[[bool], None] = lambda on: None,
    ) -> None:
        """Start the thread.

        Args:
            handle: called with a source and its item, one after the other; it must not raise.
            name: of the thread, for debuggers.
            begin: called first in the thread.
            sources: where items may be taken from.
            take: returns the newest item that waits at a source, None if there is none.
            listen: called with True when there is nothing to take: from then on items are to be
                offered; with False when there is work.
        """
        self._handle = handle
        self._begin = begin
        self._sources = sources
        self._take = take
        self._listen = listen
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
            self._listen(False)
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
        while (
            chosen := self._offered(wait=False) or self._taken() or self._offered()
        ) is not None:
            self._turn += 1
            self._served[chosen[0]] = self._turn
            self._handle(*chosen)
            del chosen  # an image must not stay in memory until the next one comes

    def _offered(self, wait: bool = True) -> tuple[str, Item] | None:
        """Return an item that was offered; None if there is none, or at the end."""
        with self._changed:
            if wait and not self._waiting and not self._stopped:
                self._listen(True)
                self._changed.wait_for(lambda: self._waiting or self._stopped)
            if self._stopped or not self._waiting:
                return None
            source = min(self._waiting, key=self._last_turn)
            return source, self._waiting.pop(source)

    def _taken(self) -> tuple[str, Item] | None:
        for source in sorted(self._sources, key=self._last_turn):
            item = None if self._stopped else self._take(source)
            if item is not None:
                return source, item
        return None

    def _last_turn(self, source: str) -> int:
        return self._served.get(source, 0)

"""Ctrl-C, SIGTERM and dying loading processes, held back while weights are being changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import signal
import threading
import time
from types import FrameType
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask a run to stop."""

SAME_S = 2.0
"""Signals that follow within this time mean the same: torchrun repeats what the terminal sent."""


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f'stopped by {signal.Signals(number).name}')
        self.number = number


class Interruption:
    """Handlers for the time of a ``with`` block; without effect outside of the main thread.

    Attributes:
        asked: the signal that asked to stop and was held back, None if there was none.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._asked_at = 0.0
        self._holding = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Note signals instead of raising; a second one some time later raises all the same."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """Hold back the error that torch raises, wherever it is, when a loading process dies.

        Raises:
            RuntimeError: at the end of the block, if one died meanwhile.
        """
        torchs = signal.getsignal(signal.SIGCHLD)
        if not callable(torchs) or threading.current_thread() is not threading.main_thread():
            yield
            return
        died: list[int] = []
        signal.signal(signal.SIGCHLD, lambda number, _: died.append(number))
        try:
            yield
        finally:
            signal.signal(signal.SIGCHLD, torchs)
        if died:
            torchs(signal.SIGCHLD, None)

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked is None:
            self.asked, self._asked_at = number, now
        elif now - self._asked_at < SAME_S:
            return
        else:
            self._holding = False
        if not self._holding:
            raise Stopped(number)

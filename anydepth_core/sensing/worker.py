"""A thread that reads one group of sensors and keeps the newest reading."""

from __future__ import annotations

from collections.abc import Callable
import logging
import threading
from typing import Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


class Reading(Protocol):
    """What every group of sensors says beside its values."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Say what is wrong with sensors that exist."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Say which sensors the device does not have."""


R_co = TypeVar('R_co', bound=Reading, covariant=True)
R = TypeVar('R', bound=Reading)


class Source(Protocol[R_co]):
    """A group of sensors that is read as one."""

    def read(self, time_s: float) -> R_co:
        """Read the group at a moment."""


class Worker(Generic[R]):
    """Reads one source at a low rate on its own thread, whatever the source does.

    An exception is logged once, becomes a problem, and the next period tries again. A source
    that blocks holds up only this thread; the reading then grows old and counts as unknown.
    Problems are in the reading: who uses it tells the user.
    """

    def __init__(self, name: str, source: Source[R], period_s: float, clock: Clock) -> None:
        """Keep the source; nothing is read yet.

        Args:
            name: the word used in messages.
            source: what to read.
            period_s: seconds between the end of one reading and the start of the next.
            clock: seconds, monotonic.
        """
        self.name = name
        self._source = source
        self._period_s = period_s
        self._clock = clock
        self._told: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f'sensing-{name}', daemon=True)
        # Time, reading and failure change together: one assignment, so that no lock is needed.
        self._latest: tuple[float, R | None, tuple[str, ...]] = (clock(), None, ())

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request_stop(self) -> None:
        """Ask the thread to end after the reading it is at."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread and say whether it has ended; a source may block it for ever."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def step(self) -> None:
        """Read the source once and keep what it says."""
        try:
            reading = self._source.read(self._clock())
        except Exception as error:  # A broken driver must not end sensing.
            # Without the error's own words: they may differ each time, and even raise.
            problem = f'{self.name}: reading failed with {type(error).__name__}'
            self._latest = (self._clock(), None, (problem,))
            if problem not in self._told:
                self._told.add(problem)
                logger.warning(problem, exc_info=error)
            return
        self._latest = (self._clock(), reading, ())

    def newest(self, stale_s: float) -> tuple[R | None, tuple[str, ...]]:
        """Return the newest reading and what is wrong with getting it.

        Args:
            stale_s: age in seconds from which a reading counts as unknown.
        """
        time_s, reading, problems = self._latest
        if self._clock() - time_s <= stale_s:
            return reading, problems
        return None, (f'{self.name}: no answer for more than {stale_s:g} s',)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.step()
            self._stop.wait(self._period_s)

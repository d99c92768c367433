"""The counts of one camera: what was received, answered and lost, and how fast. No ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import threading
import time

import numpy as np

KEPT = 1024  # events the figures are taken from: 5 s at 200 Hz; above, they cover a shorter time
LONGEST_REASON = 300  # characters; a reason may quote what a broken message holds


@dataclass(frozen=True)
class TallyReport:
    """The counts of one camera at one moment.

    Attributes:
        received: images whose callback was entered, since the start.
        answered: images whose detections were published, since the start.
        too_old: images that were skipped because of their age, since the start.
        rejected: images that could not be read or processed, since the start.
        reason: why the last image was rejected since the last restart, '' if none was.
        reason_age_s: how long ago that was.
        received_hz: images received a second, over the window.
        answered_hz: images answered a second, over the window.
        received_ago_s: time since the last image; None if there was never one.
        answered_ago_s: time since the last answer; None if there was never one.
        waiting_s: time since the last image or restart, whichever is later.
        age_ms: median age of answered and too old images over the window, by their stamps.
        last_age_ms: age of the last of them.
        latency_ms: 95th percentile of the time from the callback to the answer, over the window.
        too_old_ago_s: time since an image was skipped because of its age; None if none was since
            the last restart.
        unanswered_s: time since the last answer or restart, whichever is later.
    """

    received: int
    answered: int
    too_old: int
    rejected: int
    reason: str
    reason_age_s: float | None
    received_hz: float
    answered_hz: float
    received_ago_s: float | None
    answered_ago_s: float | None
    waiting_s: float
    age_ms: float | None
    last_age_ms: float | None
    latency_ms: float | None
    too_old_ago_s: float | None = None
    unanswered_s: float = 0.0


@dataclass
class _Recent:
    """What a restart forgets."""

    begun: float
    reason: str = ''
    rejected_at: float | None = None
    too_old_at: float | None = None
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    answers: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=KEPT))
    ages: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=KEPT))


class Tally:
    """Counts what happens to the images of one camera; any thread may call any method."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at nothing.

        Args:
            clock: returns seconds and never goes back.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._received = self._answered = self._too_old = self._rejected = 0
        self._received_at: float | None = None
        self._answered_at: float | None = None
        self._recent = _Recent(clock())

    def received(self, images: int = 1) -> None:
        """Count an image that was taken, with those before it that were left out."""
        with self._lock:
            now = self._received_at = self._clock()
            self._received += images
            self._recent.arrivals.extend([now] * min(images, KEPT))

    def answered(self, total_ms: float, age_ms: float) -> None:
        """Count an image whose detections were published.

        Args:
            total_ms: from the entry of its callback to the return of publish.
            age_ms: from its stamp to the return of publish.
        """
        with self._lock:
            now = self._answered_at = self._clock()
            self._answered += 1
            self._recent.answers.append((now, total_ms))
            self._recent.ages.append((now, age_ms))

    def too_old(self, age_ms: float) -> None:
        """Count an image that was skipped because of its age."""
        with self._lock:
            now = self._recent.too_old_at = self._clock()
            self._too_old += 1
            self._recent.ages.append((now, age_ms))

    def rejected(self, reason: str) -> None:
        """Count an image that could not be read or processed."""
        with self._lock:
            self._recent.rejected_at = self._clock()
            self._rejected += 1
            self._recent.reason = ' '.join(reason.split())[:LONGEST_REASON]

    def restart(self) -> None:
        """Let rates, ages and silence begin anew; the totals stay."""
        with self._lock:
            self._recent = _Recent(self._clock())

    def losses(self) -> tuple[int, int]:
        """Return how many images were too old and rejected; cheap enough for every frame."""
        with self._lock:
            return self._too_old, self._rejected

    def report(self, window_s: float = 5.0) -> TallyReport:
        """Return the counts of now, with rates and figures over the last seconds.

        In the first second after a restart the rates are too low rather than wildly too high.
        """
        with self._lock:
            now, recent = self._clock(), self._recent
            ages = [age for at, age in recent.ages if at > now - window_s]
            latencies = [ms for at, ms in recent.answers if at > now - window_s]
            answers = [at for at, _ in recent.answers]
            return TallyReport(
                received=self._received,
                answered=self._answered,
                too_old=self._too_old,
                rejected=self._rejected,
                reason=recent.reason,
                reason_age_s=_since(recent.rejected_at, now),
                received_hz=_rate(recent.arrivals, recent.begun, now, window_s),
                answered_hz=_rate(answers, recent.begun, now, window_s),
                received_ago_s=_since(self._received_at, now),
                answered_ago_s=_since(self._answered_at, now),
                waiting_s=now - _latest(recent.begun, self._received_at),
                age_ms=float(np.median(ages)) if ages else None,
                last_age_ms=recent.ages[-1][1] if recent.ages else None,
                latency_ms=float(np.percentile(latencies, 95)) if latencies else None,
                too_old_ago_s=_since(recent.too_old_at, now),
                unanswered_s=now - _latest(recent.begun, self._answered_at),
            )


def _since(moment: float | None, now: float) -> float | None:
    return None if moment is None else now - moment


def _latest(begun: float, moment: float | None) -> float:
    return begun if moment is None else max(begun, moment)


def _rate(moments: Sequence[float], begun: float, now: float, window_s: float) -> float:
    """Return events a second over the window, or over what is known of it."""
    start = max(begun, now - window_s)
    if len(moments) == KEPT:
        start = max(start, moments[0])
    count = sum(moment > start for moment in moments)
    return count / max(now - start, min(window_s, 1.0))

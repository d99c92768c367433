"""Deadline mode: the highest level whose latency tail fits."""

from __future__ import annotations

from .bound import Bound
from .climb import Climb
from .cost import LatencyModel
from .pi import Pi
from .settings import ControllerSettings


class DeadlineLaw:
    """Feed-forward from predicted p95 latency; a PI loop on late frames adds margin."""

    def __init__(self, cost: LatencyModel, settings: ControllerSettings) -> None:
        self._cost = cost
        self._settings = settings
        self._pi = Pi(settings.margin_kp, settings.margin_ki)
        self._climb = Climb(settings)
        self._eased = cost.eased
        self._missed = 0.0
        self.margin = 0.0

    def observe(self, level: int, latency_ms: float, deadline_ms: float) -> None:
        """Count one frame as late or in time.

        Late frames of level 0 add no margin: there is nothing cheaper to turn to.
        """
        late = float(latency_ms > deadline_ms)
        self._climb.observe(level, bool(late))
        if level == 0 and late:
            return
        gain = self._settings.latency_gain
        self._missed += gain * (late - self._missed)
        error = self._missed - self._settings.miss_rate
        self.margin = self._pi.step(error, 0.0, 0.0, self._settings.margin_max)

    def bound(
        self, current: int, top: int, deadline_ms: float, step_s: float, allowed: int
    ) -> Bound:
        """Give the highest level that fits the deadline, level 0 if none does.

        Args:
            current: level that runs now; higher ones must fit with hysteresis.
            top: highest level of the ladder.
            deadline_ms: time a frame may take, in milliseconds.
            step_s: seconds since the last decision.
            allowed: highest level that everything else allows.
        """
        fitting = self._highest_fitting(current, top, deadline_ms)
        if self._cost.eased != self._eased:
            self._eased = self._cost.eased
            self._climb.forgive()
        level = self._climb.limit(
            fitting or 0, current, step_s, self._worth_a_try(current, allowed, deadline_ms)
        )
        if level != (fitting or 0):
            return Bound(level, self._climb.reason, 'deadline')
        if fitting is None:
            needs = f'p95 {self._needs_ms(0):.1f} ms over {deadline_ms:.1f} ms deadline'
            return Bound(0, f'{needs} even here', 'deadline')
        return Bound(level, self._fit(level, top, deadline_ms), 'deadline')

    def _worth_a_try(self, current: int, allowed: int, deadline_ms: float) -> bool:
        """Whether the next level may be tried though it is not predicted to fit."""
        if current >= allowed or self._missed > self._settings.miss_rate:
            return False
        return self._needs_ms(current + 1) <= self._settings.explore_over * deadline_ms

    def _highest_fitting(self, current: int, top: int, deadline_ms: float) -> int | None:
        for level in range(top, -1, -1):
            room = 1 - self._settings.deadline_hysteresis if level > current else 1.0
            if self._needs_ms(level) <= deadline_ms * room:
                return level
        return None

    def _needs_ms(self, level: int) -> float:
        return self._cost.p95_ms(level) * (1 + self.margin)

    def _fit(self, level: int, top: int, deadline_ms: float) -> str:
        fits = f'p95 {self._needs_ms(level):.1f} ms fits {deadline_ms:.1f} ms deadline'
        if level == top:
            return fits
        return f'{fits}, {self._needs_ms(level + 1):.1f} ms of the next does not'

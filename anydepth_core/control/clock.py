"""Elapsed time that survives a clock which jumps."""

from __future__ import annotations

import math


class ElapsedClock:
    """Adds up the plausible part of every step.

    A step back or no number counts as nothing, a step over the longest counts as the longest: so a
    jump can make the law wait too long, never too short.
    """

    def __init__(self, longest_step_s: float) -> None:
        self._longest_step_s = longest_step_s
        self._last_s: float | None = None
        self.elapsed_s = 0.0

    def advance(self, time_s: float) -> float:
        """Move on to a reading and give the step in seconds."""
        if not math.isfinite(time_s):
            return 0.0
        last_s = time_s if self._last_s is None else self._last_s
        self._last_s = time_s
        step_s = min(max(time_s - last_s, 0.0), self._longest_step_s)
        self.elapsed_s += step_s
        return step_s

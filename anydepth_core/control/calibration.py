"""Measures what each level costs on the running device, level by level; pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anydepth_core.control.profile import LevelProfile, Profile

SETTLING_FRAMES = 5  # the first frames after a change find cold caches


class Calibration:
    """Asks for one level after the other and collects the latencies of its frames.

    It goes from the cheapest level up, so that a device that cannot stand the dearest has
    measured the others by then.
    """

    def __init__(self, begin_with: Profile, frames: int = 60) -> None:
        """Begin with the cheapest level.

        Args:
            begin_with: the levels, with what is known of them; AP and depth are kept.
            frames: frames to measure at each level.

        Raises:
            ValueError: if there are fewer than ten: they give no 95th percentile.
        """
        if frames < 10:
            raise ValueError(f'frames {frames} is not legal: give 10 or more')
        self._levels = begin_with.levels
        self._frames = frames
        self._done: list[LevelProfile] = []
        self._seen = 0
        self._latencies_ms: list[float] = []

    @property
    def level(self) -> int | None:
        """The level that is to run now, None when every level was measured."""
        return len(self._done) if len(self._done) < len(self._levels) else None

    def frame(self, level: int, latency_ms: float) -> None:
        """Note a frame; those of other levels, and the first of this one, do not count.

        Args:
            level: it ran at.
            latency_ms: it took.
        """
        if level != self.level or not np.isfinite(latency_ms) or latency_ms <= 0:
            return
        self._seen += 1
        if self._seen > SETTLING_FRAMES:
            self._latencies_ms.append(latency_ms)
        if len(self._latencies_ms) == self._frames:
            self._done.append(self._measured(self._levels[level]))
            self._seen, self._latencies_ms = 0, []

    def progress(self) -> str:
        """Return what is being done, in words."""
        if self.level is None:
            return f'measured {len(self._levels)} levels'
        return (
            f'measuring level {self.level} of {len(self._levels) - 1}: '
            f'{len(self._latencies_ms)} of {self._frames} frames'
        )

    def profile(self, device: str) -> Profile:
        """Return what was measured.

        Args:
            device: the device in words.

        Raises:
            RuntimeError: if a level is missing.
        """
        if self.level is not None:
            raise RuntimeError(f'level {self.level} was not measured yet')
        return Profile(tuple(self._done), device)

    def _measured(self, level: LevelProfile) -> LevelProfile:
        p50, p95 = np.percentile(self._latencies_ms, (50, 95))
        return replace(level, latency_ms=float(p50), latency_p95_ms=float(p95))

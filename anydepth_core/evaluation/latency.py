"""Interleaved latency measurement: candidates take turns, so that noise disturbs all alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anydepth_core.structures import Timing

STEPS = ('preprocess_ms', 'inference_ms', 'postprocess_ms', 'total_ms')


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one candidate, one value per round.

    Attributes:
        timings: one timing per round, in order.
    """

    timings: tuple[Timing, ...]

    def percentile(self, step: str, percent: float) -> float:
        """Return a percentile of a step (a name in ``STEPS``) over the rounds, in milliseconds."""
        return float(np.percentile(self.values(step), percent))

    def jitter(self, step: str) -> float:
        """Return p95 - p50 of a step: how much later than usual a late frame is."""
        return self.percentile(step, 95) - self.percentile(step, 50)

    def values(self, step: str) -> np.ndarray:
        """Return the milliseconds of a step, (rounds,) float64."""
        return np.array([getattr(timing, step) for timing in self.timings], np.float64)

    def ratio_to(self, other: Latency, step: str = 'inference_ms') -> float:
        """Return the median, over the rounds, of this time divided by the other of that round."""
        return float(np.median(self.values(step) / other.values(step)))


def measure_interleaved(
    candidates: Sequence[Callable[[], Timing]],
    rounds: int,
    warm_up: int = 3,
    progress: Callable[[], object] | None = None,
) -> list[Latency]:
    """Time every candidate once per round, in alternating order.

    Args:
        candidates: each call does the work once and says how long its steps took.
        rounds: timed rounds.
        warm_up: rounds before that are not counted.
        progress: called after each timed round.

    Returns:
        One :class:`Latency` per candidate, in their order.

    Raises:
        ValueError: if there is no candidate or no round.
    """
    if not candidates or rounds < 1 or warm_up < 0:
        raise ValueError(
            f'{len(candidates)} candidates, {rounds} rounds and {warm_up} warm-up rounds '
            'cannot be measured: give at least one candidate, one round and 0 warm-up rounds'
        )
    timings: list[list[Timing]] = [[] for _ in candidates]
    for number in range(-warm_up, rounds):
        order = range(len(candidates)) if number % 2 == 0 else reversed(range(len(candidates)))
        for index in order:
            timing = candidates[index]()
            if number >= 0:
                timings[index].append(timing)
        if number >= 0 and progress is not None:
            progress()
    return [Latency(tuple(rows)) for rows in timings]

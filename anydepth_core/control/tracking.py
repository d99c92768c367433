"""Tracking mode: two neighbours in turn, so that the mean latency meets the target."""

from __future__ import annotations

from .bound import Bound
from .cost import LatencyModel
from .pi import Pi
from .settings import ControllerSettings


class TrackingLaw:
    """A PI loop on the causal mean sets the wanted mean; an error feedback picks the level.

    The sum of wanted minus predicted latency says which of the two neighbours is due.
    """

    def __init__(self, cost: LatencyModel, settings: ControllerSettings) -> None:
        self._cost = cost
        self._settings = settings
        self._pi = Pi(settings.tracking_kp, settings.tracking_ki)
        self._mean_ms: float | None = None
        self._wanted_ms: float | None = None
        self._owed_ms = 0.0

    def observe(self, level: int, latency_ms: float, target_ms: float, top: int) -> None:
        """Take in one frame.

        Args:
            level: level the frame ran at.
            latency_ms: what it took, in milliseconds.
            target_ms: mean to meet, in milliseconds.
            top: highest level allowed now, where the loop saturates.
        """
        memory = self._settings.tracking_memory
        last_ms = latency_ms if self._mean_ms is None else self._mean_ms
        self._mean_ms = memory * last_ms + (1 - memory) * latency_ms
        costs_ms = [self._cost.median_ms(index) for index in range(top + 1)]
        low_ms, high_ms = min(costs_ms), max(costs_ms)
        error_ms = target_ms - self._mean_ms
        self._wanted_ms = self._pi.step(error_ms, target_ms, low_ms, high_ms)
        span_ms = high_ms - low_ms
        owed_ms = self._owed_ms + self._wanted_ms - self._cost.median_ms(level)
        self._owed_ms = min(max(owed_ms, -span_ms), span_ms)

    def bound(self, top: int, target_ms: float) -> Bound:
        """Give the level that is due.

        Args:
            top: highest level allowed now.
            target_ms: mean to meet, in milliseconds.
        """
        wanted_ms = target_ms if self._wanted_ms is None else self._wanted_ms
        lower = self._highest_within(wanted_ms, top)
        upper = min(lower + 1, top)
        level = upper if self._owed_ms > 0 else lower
        return Bound(
            level, f'levels {lower} and {upper} in turn for {target_ms:.1f} ms mean', 'deadline'
        )

    def _highest_within(self, wanted_ms: float, top: int) -> int:
        fitting = (
            index for index in range(top, 0, -1) if self._cost.median_ms(index) <= wanted_ms
        )
        return next(fitting, 0)

"""The energy of a full battery: as given, and as the fall of the gauge shows it."""

from __future__ import annotations

from dataclasses import dataclass

LEARN_FALL = 0.02
"""Fall of the gauge that is enough to learn from: a gauge has steps of 0.01."""
JUMP = 0.03
"""A gauge that falls by more between two readings was replaced or is faulty."""
EDGE_SPREAD = 0.008
"""Uncertainty of a fall between two edges: the voltage sags differently at different levels."""
GIVEN_SPREAD = 0.1
"""Relative uncertainty of a given capacity: batteries age."""
GIVEN_RANGE = (0.5, 1.5)
"""What is left of a given capacity, or was understated, at most."""
LEAST_WH = 0.1
"""Smallest capacity to believe in: a gauge that falls without use is a fault."""


@dataclass(frozen=True)
class Fall:
    """How far the gauge has fallen since its first edge, with the energy used meanwhile."""

    share: float
    used_j: float
    seconds: float


class FallingGauge:
    """Measures falls between edges, the moments at which the gauge comes to a new lowest value.

    Between two edges a gauge in steps has fallen by just what it shows.
    """

    def __init__(self) -> None:
        self._lowest: float | None = None
        self._first_edge: float | None = None
        self._used_j = self._seconds = 0.0

    def observe(self, gauge: float, used_j: float, seconds: float) -> Fall | None:
        """Take in a reading and what was used since the last; give the fall at an edge."""
        self._used_j += used_j
        self._seconds += seconds
        if self._lowest is None or not -JUMP <= gauge - self._lowest <= JUMP:
            self.restart(gauge)
        elif gauge < self._lowest:
            self._lowest = gauge
            if self._first_edge is None:
                self._first_edge, self._used_j, self._seconds = gauge, 0.0, 0.0
            else:
                return Fall(self._first_edge - gauge, self._used_j, self._seconds)
        return None

    def restart(self, gauge: float | None = None) -> None:
        """Begin anew, from a reading if there is one."""
        self._lowest, self._first_edge = gauge, None


class Capacity:
    """Weighs a given capacity against the learned one, which gets surer with every edge."""

    def __init__(self) -> None:
        self._learned_wh: float | None = None
        self._fall = 0.0

    def learn(self, fall: Fall) -> None:
        """Take in a fall of the gauge over measured energy."""
        if fall.share >= LEARN_FALL and fall.used_j > 0:
            self._learned_wh = max(fall.used_j / fall.share / 3600, LEAST_WH)
            self._fall = fall.share

    def wh(self, given_wh: float | None) -> float | None:
        """Give the capacity in watt hours, None while nothing is known."""
        learned_wh = self._learned_wh
        if given_wh is None or learned_wh is None:
            return learned_wh if given_wh is None else given_wh
        low, high = (share * given_wh for share in GIVEN_RANGE)
        weight = self._fall**2 / (self._fall**2 + (EDGE_SPREAD / GIVEN_SPREAD) ** 2)
        return given_wh + weight * (min(max(learned_wh, low), high) - given_wh)

"""Proportional-integral correction with back-calculation against windup."""

from __future__ import annotations


class Pi:
    """One PI loop whose output stays within limits passed with every step."""

    def __init__(self, kp: float, ki: float) -> None:
        self._kp = kp
        self._ki = ki
        self._integral = 0.0

    def step(self, error: float, forward: float, low: float, high: float) -> float:
        """Give the next output.

        Args:
            error: wanted minus measured.
            forward: feed-forward, the output without correction.
            low: smallest output.
            high: largest output.
        """
        self._integral += self._ki * error
        wanted = forward + self._kp * error + self._integral
        output = min(max(wanted, low), high)
        self._integral += output - wanted  # what cannot be acted on is not kept
        return output

"""Power of every level: what the device draws besides, plus the energy of its frames."""

from __future__ import annotations

from .cost import LatencyModel
from .profile import Profile
from .settings import ControllerSettings

ASSUMED_BUSY_W = 5.0
"""Power of a busy frame where the profile has no energies; measurements correct it."""

SETTLED = 0.1
"""Share of the power by which the base may be off while a level's own correction is learned."""


class PowerModel:
    """Predicts the power of every level.

    prediction = base + own correction of the level + energy of a frame x frames per second. The
    base follows measured power; if power is not measured it follows the fall of the battery.
    """

    def __init__(self, profile: Profile, cost: LatencyModel, settings: ControllerSettings) -> None:
        self._settings = settings
        self._cost = cost
        self._energies_j = [
            ASSUMED_BUSY_W * level.latency_ms / 1000 if level.energy_j is None else level.energy_j
            for level in profile.levels
        ]
        self._own_w = [0.0] * len(profile.levels)
        self._base_w: float | None = None
        self._rate_hz: float | None = None
        self._age_s = 0.0

    def observe(
        self, level: int, power_w: float | None, rate_hz: float | None, step_s: float
    ) -> None:
        """Take in one reading of the power, made while a level ran."""
        if rate_hz is not None:
            self._rate_hz = rate_hz
        self._age_s += step_s
        if power_w is None:
            return
        self._age_s = 0.0
        if self._base_w is None:
            self._base_w = power_w - self._frames_w(level)
            return
        away_w = power_w - self.power_w(level)
        base_s, own_s = self._settings.power_filter_s, self._settings.power_own_filter_s
        self._base_w += away_w * step_s / (base_s + step_s)
        if abs(away_w) <= SETTLED * power_w:
            self._own_w[level] += away_w * step_s / (own_s + step_s)

    def correct(self, away_w: float) -> None:
        """Move the base by an error found another way, in watts."""
        self._base_w = (self._base_w or 0.0) + away_w

    @property
    def measured(self) -> bool:
        """Whether power was measured lately."""
        return self._base_w is not None and self._age_s <= self._settings.power_stale_s

    def power_w(self, level: int) -> float:
        """Predict the power of the device at a level, in watts."""
        other_w = (self._base_w or 0.0) + self._own_w[level]
        return max(other_w + self._frames_w(level), 0.0)

    def _frames_w(self, level: int) -> float:
        fastest_hz = 1000 / self._cost.median_ms(level)
        rate_hz = fastest_hz if self._rate_hz is None else min(self._rate_hz, fastest_hz)
        return self._energies_j[level] * rate_hz

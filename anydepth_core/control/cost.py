"""Live cost of every level: the profile, re-scaled by what frames take now."""

from __future__ import annotations

from collections import deque
import math
from statistics import median

from .profile import Profile
from .settings import ControllerSettings

SCALE_RANGE = (0.02, 50.0)  # a device slower or faster than that is a broken clock
OWN_RANGE = (0.5, 2.0)
LEAST_TAIL = 1.15  # a jump is for changes larger than this; slow following does for smaller ones
TAIL_FRAMES = 20
"""Frames needed before the measured spread replaces the profile's."""


class LatencyModel:
    """Predicts median and 95th percentile of every level's latency.

    prediction = profile x own correction of the level x common scale. Frames move the common scale
    slowly, so all levels follow a change of clock; when the median of the newest few leaves the
    usual spread, it jumps (contention). If of these few only the frames of one level are off, the
    profile of that level is wrong, and its own correction jumps instead.
    """

    def __init__(self, profile: Profile, settings: ControllerSettings) -> None:
        self._settings = settings
        self._profile_ms = [level.latency_ms for level in profile.levels]
        self._profile_tail = [level.latency_p95_ms / level.latency_ms for level in profile.levels]
        self._scale = 1.0
        self._own = [1.0] * len(profile.levels)
        self._age_s = [0.0] * len(profile.levels)
        self._level: int | None = None
        self._in_a_row = 0  # newest frames at that level
        self._recent: deque[tuple[int, float]] = deque(maxlen=settings.latency_confirm)
        self._residuals: deque[float] = deque(maxlen=settings.latency_window)
        self._tail = 1.0
        self._settled_tail = 1.0  # without the newest frames, which it judges
        self._drifting_s = 0.0
        self.eased = 0
        """How often everything has become faster at once."""

    def observe(self, level: int, latency_ms: float) -> None:
        """Take in one frame."""
        self._in_a_row = self._in_a_row + 1 if level == self._level else 1
        self._level = level
        self._age_s[level] = 0.0
        self._recent.append((level, latency_ms))
        if not self._jump(level) and self._usual(latency_ms / self.median_ms(level)):
            self._creep(level, latency_ms / self.median_ms(level) - 1)
        self._residuals.append(latency_ms / self.median_ms(level))
        ratios = list(self._residuals)
        self._tail = _percentile_95(ratios)
        self._settled_tail = _percentile_95(ratios[: -self._settings.latency_confirm])

    def median_ms(self, level: int) -> float:
        """Predict the median latency of a level, in milliseconds."""
        return self._profile_ms[level] * self._own[level] * self._scale

    def p95_ms(self, level: int) -> float:
        """Predict the 95th percentile of a level's latency, in milliseconds."""
        return self.median_ms(level) * self._tail_of(level)

    def scale(self, level: int) -> float:
        """Give what a level takes now over what its profile says."""
        return self._own[level] * self._scale

    def forget(self, step_s: float) -> None:
        """Let old knowledge fade.

        The correction of a level that is not served fades: contention slows a dear level more than
        a cheap one, and without this the dear one would never be tried again. What the corrections
        of the levels that are served have in common goes over to the common scale: nothing tells
        that the others differ from them.
        """
        self._age_s = [age_s + step_s for age_s in self._age_s]
        kept = math.exp(-step_s / self._settings.latency_forget_s)
        fresh = [age_s < self._settings.latency_forget_s for age_s in self._age_s]
        common = [math.log(own) for own, is_fresh in zip(self._own, fresh) if is_fresh]
        moved = math.exp((1 - kept) * sum(common) / max(len(common), 1))
        self._own = [
            own / moved if is_fresh else own**kept for own, is_fresh in zip(self._own, fresh)
        ]
        self._scale *= moved

    def drift(self, step_s: float) -> float | None:
        """Count how long the newest level has been off its profile.

        Args:
            step_s: seconds since the last call.

        Returns:
            Measured over profile latency once that has lasted, else None.
        """
        ratio = 1.0 if self._level is None else self.scale(self._level)
        away = abs(math.log(ratio)) > math.log(self._settings.drift_ratio)
        self._drifting_s = self._drifting_s + step_s if away else 0.0
        return ratio if self._drifting_s >= self._settings.drift_s else None

    def _tail_of(self, level: int) -> float:
        return self._tail if len(self._residuals) >= TAIL_FRAMES else self._profile_tail[level]

    def _usual(self, ratio: float) -> bool:
        known = len(self._residuals) >= TAIL_FRAMES
        tail = self._settled_tail if known else self._profile_tail[self._level or 0]
        tail = max(tail, LEAST_TAIL)
        return 1 / tail <= ratio <= tail

    def _jump(self, level: int) -> bool:
        ratios = [(other, taken / self.median_ms(other)) for other, taken in self._recent]
        middle = median(ratio for _, ratio in ratios)
        if len(ratios) < self._settings.latency_confirm or self._usual(middle):
            return False
        off = [(other, ratio) for other, ratio in ratios if not self._usual(ratio)]
        only_this = all(other == level for other, _ in off)
        if only_this and any(other != level for other, _ in ratios):
            own = self._own[level] * median(ratio for _, ratio in off)
            self._own[level] = _clip(own, OWN_RANGE)
        else:
            self._scale = _clip(self._scale * middle, SCALE_RANGE)
            if middle < 1:  # what slowed the other levels is over, too
                self._own = [own if one == level else 1.0 for one, own in enumerate(self._own)]
                # Right after a change of the level it is the estimate that was wrong.
                self.eased += self._in_a_row > 2 * self._settings.latency_confirm
        self._forget_onset()
        return True

    def _creep(self, level: int, away: float) -> None:
        self._scale = _clip(self._scale * (1 + self._settings.latency_gain * away), SCALE_RANGE)
        self._own[level] = _clip(
            self._own[level] * (1 + self._settings.latency_own_gain * away), OWN_RANGE
        )

    def _forget_onset(self) -> None:
        """Drop the residuals of the change itself: they are no noise of the new state."""
        for _ in range(min(self._settings.latency_confirm // 2, len(self._residuals))):
            self._residuals.pop()


def _percentile_95(values: list[float]) -> float:
    """Give the 95th percentile of ratios, at least 1 (also of none)."""
    ordered = sorted(values) or [1.0]
    return max(ordered[math.ceil(0.95 * len(ordered)) - 1], 1.0)


def _clip(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])

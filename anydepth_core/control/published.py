"""The published two-depth budget controller, kept as the baseline that ours is measured against.

One threshold on a router's predicted advantage of the full depth decides between base and full;
a proportional-integral law moves the threshold so that the mean cost follows a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np

from anydepth_core.control.profile import Profile
from anydepth_core.control.signals import Decision, Signals
from anydepth_core.control.targets import Targets

BASE, FULL = 0, 1
# A fall of the budget of more than this flushes the integrator. The published law uses the same
# number for milliseconds and millijoules; the golden traces depend on it.
FLUSH = 1.0


@dataclass(frozen=True)
class PublishedSettings:
    """Numbers of the published law.

    Attributes:
        mode: ``latency`` (costs and targets in ms), ``fps`` (costs in ms, targets in frames per
            second) or ``energy`` (both in mJ).
        cost_base: median cost of the base depth, in ms or mJ.
        cost_full: median cost of the full depth, in the same unit.
        kp: proportional gain, before it is scaled to the band of thresholds.
        ki: integral gain, scaled alike.
        beta: weight of the past in the moving average of the cost.
        padding: how far the band of thresholds reaches beyond the advantages of the warm-up.
    """

    mode: str
    cost_base: float
    cost_full: float
    kp: float = 2.0
    ki: float = 0.33
    beta: float = 0.85
    padding: float = 0.03

    def __post_init__(self) -> None:
        if self.mode not in ('latency', 'fps', 'energy'):
            raise ValueError(f'mode is {self.mode!r}, not latency, fps or energy')
        if not self.cost_full > self.cost_base > 0:
            raise ValueError(
                f'costs {self.cost_base} (base) and {self.cost_full} (full) cannot be used: '
                'full must cost more than base, and base more than 0'
            )
        if not self.ki > 0:
            raise ValueError(f'ki is {self.ki}: back-calculation needs it above 0')


@dataclass(frozen=True)
class PublishedStep:
    """What the law computed for one frame, in the order of the published trace.

    Attributes:
        cost: measured cost of the frame, in ms or mJ.
        average: causal moving average of the cost.
        error: target minus average.
        integral: integrator after back-calculation.
        feed_forward: threshold before correction.
        unclipped: threshold after correction.
        threshold: threshold in use, within the band of the warm-up.
    """

    cost: float
    average: float
    error: float
    integral: float
    feed_forward: float
    unclipped: float
    threshold: float


class PublishedLaw:
    """The recurrence itself: one call per frame.

    Attributes:
        path: what the next frame runs, ``BASE`` or ``FULL``; the first frame runs base.
    """

    def __init__(self, settings: PublishedSettings, warm_up: Sequence[float] | np.ndarray) -> None:
        """Take the settings and the router outputs of the warm-up frames (at least one)."""
        self.path = BASE
        self._settings = settings
        self._warm_up = np.asarray(warm_up, np.float64)
        self._low = float(self._warm_up.min()) - settings.padding
        self._high = float(self._warm_up.max()) + settings.padding
        scale = (self._high - self._low) / (settings.cost_full - settings.cost_base)
        self._kp, self._ki = settings.kp * scale, settings.ki * scale
        self._average: float | None = None
        self._integral = 0.0
        self._budget: float | None = None

    def step(
        self, cost: float, target: float, next_target: float, advantage: float
    ) -> PublishedStep:
        """Use one finished frame and choose the path of the next.

        Args:
            cost: cost of this frame, in ms or mJ.
            target: target of this frame, in ms, frames per second or mJ.
            next_target: target of the next frame, which the feed-forward looks at.
            advantage: router output of this frame.

        Returns:
            The quantities of this frame; the choice is in :attr:`path`.
        """
        budget = self._to_cost(target)
        average = self._follow(cost, budget)
        if self._budget is not None and self._flushes(budget - self._budget):
            self._integral = 0.0
        self._budget = budget
        error = budget - average
        self._integral += error
        feed_forward = self._feed_forward(self._to_cost(next_target))
        unclipped = feed_forward - self._kp * error - self._ki * self._integral
        threshold = self._clip(unclipped)
        self._integral += (unclipped - threshold) / self._ki
        self.path = FULL if advantage > threshold else BASE
        return PublishedStep(
            cost, average, error, self._integral, feed_forward, unclipped, threshold
        )

    def _to_cost(self, target: float) -> float:
        return 1000.0 / target if self._settings.mode == 'fps' else target

    def _follow(self, cost: float, budget: float) -> float:
        past = budget if self._average is None else self._average
        beta = self._settings.beta
        self._average = beta * past + (1.0 - beta) * cost
        return self._average

    def _flushes(self, change: float) -> bool:
        return change > FLUSH if self._settings.mode == 'fps' else change < -FLUSH

    def _feed_forward(self, budget: float) -> float:
        if self._settings.mode == 'latency':
            return (self._low + self._high) / 2.0
        base, full = self._settings.cost_base, self._settings.cost_full
        share_full = min(max((budget - base) / (full - base), 0.0), 1.0)
        return self._clip(float(np.quantile(self._warm_up, 1.0 - share_full)))

    def _clip(self, threshold: float) -> float:
        return min(max(threshold, self._low), self._high)


def synthetic_advantages(count: int, seed: int) -> np.ndarray:
    """Return router outputs with the mean, spread and memory of the published ones.

    Args:
        count: how many.
        seed: the same seed gives the same outputs.

    Returns:
        (count,) float64: mean 0.052, standard deviation 0.029, correlation 0.55 from one frame
        to the next.
    """
    memory, spread, mean = 0.55, 0.029, 0.052
    fresh = np.random.default_rng(seed).standard_normal(count) * spread
    values = fresh.copy()
    for index in range(1, count):
        values[index] = memory * values[index - 1] + math.sqrt(1 - memory**2) * fresh[index]
    return values + mean


class PublishedPolicy:
    """The published law as a policy: levels 0 and the highest of a profile, nothing between.

    It knows a budget per frame and nothing else: the deadline, or the rate where no deadline is
    given. With ``energy_mj`` it follows that budget instead, and the energy of a frame is the
    profile's: kinder than the published product of one power sample and the latency, which is
    wrong when the device idles between frames. Temperature and battery are not seen.
    A frame whose cost is unknown leaves the choice as it was (the published code has no rule).
    Without any budget it runs the full depth.
    """

    def __init__(
        self,
        profile: Profile,
        targets: Targets | None = None,
        advantages: Sequence[float] | np.ndarray = (),
        energy_mj: float | None = None,
        warm_up: int = 60,
    ) -> None:
        """Build the law.

        Args:
            profile: costs; the first and the last level are used.
            targets: the budgets at the start.
            advantages: router outputs: the first ``warm_up`` set the band, the others are used
                frame by frame and start again when they end.
            energy_mj: a budget per frame in mJ above idle, instead of the latency budgets.
            warm_up: how many advantages set the band.

        Raises:
            ValueError: if there are too few advantages.
        """
        if len(advantages) <= warm_up:
            raise ValueError(
                f'{len(advantages)} advantages are too few: more than {warm_up} are needed'
            )
        self._profile = profile
        self._warm_up = np.asarray(advantages[:warm_up], np.float64)
        self._advantages = np.asarray(advantages[warm_up:], np.float64)
        self._energy_mj = energy_mj
        self._frame = 0
        self._law: PublishedLaw | None = None
        self._mode = ''
        self._targets = targets if targets is not None else Targets()

    def set_targets(self, targets: Targets) -> None:
        """Take new budgets; the law starts afresh only when a rate replaces a deadline."""
        self._targets = targets

    def decide(self, signals: Signals) -> Decision:
        """Return base or full for the next frame."""
        top = len(self._profile.levels) - 1
        mode, budget = self._budget()
        if budget is None:
            return Decision(top, f'level {top}: no budget', 'accuracy')
        if self._law is None or mode != self._mode:
            self._law, self._mode = PublishedLaw(self._settings(mode), self._warm_up), mode
        cost = self._cost(signals)
        if cost is not None:
            advantage = float(self._advantages[self._frame % len(self._advantages)])
            self._law.step(cost, budget, budget, advantage)
            self._frame += 1
        level = top if self._law.path == FULL else 0
        return Decision(level, f'level {level}: published law, {mode} {budget:g}', 'accuracy')

    def _budget(self) -> tuple[str, float | None]:
        if self._energy_mj is not None:
            return 'energy', self._energy_mj
        if self._targets.deadline_ms is not None:
            return 'latency', self._targets.deadline()
        return 'fps', self._targets.rate_fps

    def _settings(self, mode: str) -> PublishedSettings:
        base, full = self._profile.levels[0], self._profile.levels[-1]
        if mode != 'energy':
            return PublishedSettings(mode, base.latency_ms, full.latency_ms)
        if base.energy_j is None or full.energy_j is None:
            raise ValueError('an energy budget needs the energy of the levels in the profile')
        return PublishedSettings(mode, base.energy_j * 1000.0, full.energy_j * 1000.0)

    def _cost(self, signals: Signals) -> float | None:
        if self._mode == 'energy':
            level = signals.latency_level
            energy_j = None if level is None else self._profile.levels[level].energy_j
            return None if energy_j is None else energy_j * 1000.0
        cost = signals.latency_ms
        return cost if cost is not None and math.isfinite(cost) else None


class AlwaysLevel:
    """A policy that never changes: the plain detector at one level."""

    def __init__(self, level: int) -> None:
        """Keep ``level``."""
        self._decision = Decision(level, f'level {level}: fixed', 'floor')

    def set_targets(self, targets: Targets) -> None:
        """Take no notice of targets."""

    def decide(self, signals: Signals) -> Decision:
        """Return the fixed level, whatever the signals."""
        return self._decision

"""The law: laws in order of authority, one level, one reason."""

from __future__ import annotations

from .bound import Bound, lowest
from .clock import ElapsedClock
from .cost import LatencyModel
from .deadline import DeadlineLaw
from .dwell import Dwell
from .energy import EnergyLaw
from .limits import HardLimits
from .power import PowerModel
from .profile import Profile
from .settings import ControllerSettings
from .signals import Decision, sanitised, Signals
from .targets import Targets
from .thermal import SoftLimit
from .tracking import TrackingLaw

ORDER = {'safety': 0, 'ceiling': 1, 'deadline': 2, 'energy': 3, 'accuracy': 4}


class Controller:
    """Picks a level from signals and targets; pure, its state moves only in `decide`.

    Hard limits and over-current give level 0 at once. Then `max_level`, `min_level`, the soft
    temperature limit, the deadline and energy are bounds; the lowest holds, and what is left free
    goes to accuracy. Unknown signals: without latency or power the last estimate stays (first the
    profile's), without temperature the level falls, without a gauge the charge is counted down.
    """

    def __init__(
        self,
        profile: Profile,
        targets: Targets | None = None,
        settings: ControllerSettings | None = None,
    ) -> None:
        self._settings = settings or ControllerSettings()
        self._targets = targets or Targets()
        self._top = len(profile.levels) - 1
        self._clock = ElapsedClock(self._settings.longest_step_s)
        self._cost = LatencyModel(profile, self._settings)
        self._deadline = DeadlineLaw(self._cost, self._settings)
        self._tracking = TrackingLaw(self._cost, self._settings)
        self._hard = HardLimits(self._settings)
        self._soft = SoftLimit(self._top, self._settings)
        power = PowerModel(profile, self._cost, self._settings)
        self._energy = EnergyLaw(profile, power, self._settings)
        self._dwell = Dwell(self._settings, self._top, self._settings.dwell_up_s)
        self._allowed = self._top  # for the tracking loop: where it saturates
        self.drift: float | None = None
        """Measured over profile latency once the profile is out of date, else None."""

    def set_targets(self, targets: Targets) -> None:
        """Replace the targets from the next decision on."""
        self._targets = targets

    def decide(self, signals: Signals) -> Decision:
        """Pick the level of the next frame."""
        signals = sanitised(signals, self._top + 1)
        step_s = self._clock.advance(signals.time_s)
        self._dwell.since_change_s += step_s
        self._observe(signals, step_s)
        hard = self._hard.bound(signals, self._targets, step_s)
        soft = self._soft.bound(signals, self._targets, step_s, self._dwell.level)
        if hard is not None:
            self._dwell.force(hard.level)
            return self._decision(hard)
        return self._settle(self._floored(lowest(self._bounds(signals, soft, step_s))))

    def _observe(self, signals: Signals, step_s: float) -> None:
        level, latency_ms = signals.latency_level, signals.latency_ms
        deadline_ms = self._targets.deadline()
        if level is not None and latency_ms is not None:
            self._cost.observe(level, latency_ms)
            if deadline_ms is not None and self._targets.mode == 'tracking':
                self._tracking.observe(level, latency_ms, deadline_ms, self._allowed)
            elif deadline_ms is not None:
                self._deadline.observe(level, latency_ms, deadline_ms)
        self._cost.forget(step_s)
        self.drift = self._cost.drift(step_s)
        self._energy.observe(signals, self._targets, self._dwell.level, step_s)

    def _bounds(self, signals: Signals, soft: Bound | None, step_s: float) -> list[Bound]:
        """Give every bound, the highest authority first."""
        current, targets = self._dwell.level, self._targets
        others = self._energy.bounds(signals, targets, current, self._top)
        if soft is not None:
            others.append(soft)
        if targets.max_level is not None:
            others.append(Bound(self._highest(), f'max_level {targets.max_level}', 'ceiling'))
        self._allowed = min((bound.level for bound in others), default=self._top)
        return sorted(
            [*others, *self._timing(current, step_s)], key=lambda bound: ORDER[bound.authority]
        )

    def _timing(self, current: int, step_s: float) -> list[Bound]:
        deadline_ms = self._targets.deadline()
        if deadline_ms is None:
            return [Bound(self._top, 'nothing asks for less', 'accuracy')]
        if self._targets.mode == 'tracking':
            return [self._tracking.bound(self._allowed, deadline_ms)]
        return [self._deadline.bound(current, self._top, deadline_ms, step_s, self._allowed)]

    def _highest(self) -> int:
        highest = self._targets.max_level
        return self._top if highest is None else min(highest, self._top)

    def _floored(self, bound: Bound) -> Bound:
        floor = min(self._targets.min_level, self._highest())
        if bound.level >= floor:
            return bound
        return Bound(floor, f'min_level {floor} over {bound.cause}', 'floor')

    def _settle(self, wanted: Bound) -> Decision:
        self._dwell.settle(wanted.level, self._targets.mode)
        floor = min(self._targets.min_level, self._highest())
        self._dwell.force(min(max(self._dwell.level, floor), self._highest()))
        return self._decision(wanted)

    def _decision(self, wanted: Bound) -> Decision:
        level, cause = self._dwell.level, wanted.cause
        if level != wanted.level:
            left_s = max(self._dwell.left_s(wanted.level, self._targets.mode), 0.0)
            cause = f'{left_s:.1f} s before level {wanted.level}: {cause}'
        return Decision(level, f'level {level} of {self._top}: {cause}', wanted.authority)

"""Energy: the power budget and what the battery allows."""

from __future__ import annotations

from collections.abc import Sequence
import math

from .battery import Battery
from .bound import Bound
from .power import PowerModel
from .profile import Profile
from .settings import ControllerSettings
from .signals import Signals
from .targets import Targets

TIE = 1e-9


class EnergyLaw:
    """The highest level whose predicted power fits the budget and the battery.

    With a mission end the energy above the reserve divided by the remaining time is an allowance
    in watts; too little use now is more allowance later. A level that is worth less AP than a mix
    of its neighbours at the same energy is therefore left out. Without an end, or after it, the
    level falls to 0 over the last few percent above the reserve. A battery that was never readable
    gives the middle of the ladder: it neither drains unseen nor cripples the robot.
    """

    def __init__(self, profile: Profile, power: PowerModel, settings: ControllerSettings) -> None:
        self._power = power
        self._settings = settings
        self._battery = Battery(power, settings)
        self._all = tuple(range(len(profile.levels)))
        self._worth_it = efficient_levels(profile)
        self._battery_level: int | None = None
        self._held_s = math.inf
        self._targets: Targets | None = None

    def observe(self, signals: Signals, targets: Targets, level: int, step_s: float) -> None:
        """Take in what was measured while a level ran."""
        self._held_s += step_s
        if targets is not self._targets:  # what was asked for before holds nothing up
            self._targets, self._held_s = targets, math.inf
        self._power.observe(level, signals.power_w, signals.rate_hz, step_s)
        self._battery.observe(signals, targets, level, step_s)

    def bounds(self, signals: Signals, targets: Targets, current: int, top: int) -> list[Bound]:
        """Give the bounds of the power budget and of the battery, where there are such targets."""
        bounds, settings = [], self._settings
        if targets.power_budget_w is not None:
            bounds.append(
                self._within(
                    targets.power_budget_w,
                    'power budget',
                    current,
                    self._all,
                    settings.power_hysteresis,
                )
            )
        wants_battery = targets.battery_reserve is not None or targets.mission_end_s is not None
        if wants_battery and not signals.charging:
            bounds.append(self._battery_bound(signals, targets, current, top))
        return bounds

    def _battery_bound(self, signals: Signals, targets: Targets, current: int, top: int) -> Bound:
        charge = self._battery.charge
        if charge is None:
            return Bound(top // 2, 'battery unknown, so the middle of the ladder', 'energy')
        end_s = targets.mission_end_s
        if end_s is not None and not signals.time_s >= end_s:
            allowed_w = self._battery.allowance_w(signals, targets)
            if allowed_w is not None:
                what = f'allowance of the battery at {charge:.1%}'
                return self._held(
                    self._within(
                        allowed_w, what, current, self._worth_it, self._settings.battery_hysteresis
                    )
                )
        return self._taper(charge, targets.battery_reserve or 0.0, top)

    def _taper(self, charge: float, reserve: float, top: int) -> Bound:
        share = (charge - reserve) / self._settings.battery_taper
        level = min(max(math.ceil(share * top), 0), top)
        return Bound(level, f'battery {charge:.1%} for a reserve of {reserve:.1%}', 'energy')

    def _held(self, bound: Bound) -> Bound:
        """Keep a lowered level for a while: the charge moves slowly, its gauge in steps."""
        before, hold_s = self._battery_level, self._settings.battery_hold_s
        if before is not None and bound.level > before and self._held_s < hold_s:
            return Bound(
                before, f'{hold_s - self._held_s:.0f} s more, then {bound.cause}', 'energy'
            )
        if bound.level != before:
            self._battery_level, self._held_s = bound.level, 0.0
        return bound

    def _within(
        self, allowed_w: float, what: str, current: int, levels: Sequence[int], hysteresis: float
    ) -> Bound:
        """Give the highest of the levels whose power is allowed, else the lowest."""
        above: int | None = None
        for level in reversed(levels):
            room = 1 - hysteresis if level > current else 1.0
            if self._power.power_w(level) <= allowed_w * room:
                break
            above = level
        if above is None:
            return Bound(level, f'within {allowed_w:.1f} W {what}', 'energy')
        next_w = self._power.power_w(above)
        lowest = min(level, above)
        return Bound(
            lowest, f'{allowed_w:.1f} W {what}, level {above} needs {next_w:.1f} W', 'energy'
        )


def efficient_levels(profile: Profile) -> tuple[int, ...]:
    """Return the levels that no mix of two others beats in AP at the same energy.

    All of them if an AP is unknown. Where an energy is unknown latencies stand for all.
    """
    levels = profile.levels
    if any(level.ap is None for level in levels):
        return tuple(range(len(levels)))
    known = all(level.energy_j is not None for level in levels)
    points = [
        ((level.energy_j if known else level.latency_ms) or 0.0, level.ap or 0.0)
        for level in levels
    ]
    return tuple(
        index
        for index, (cost, ap) in enumerate(points)
        if index == 0 or ap >= _best_mix(points, cost) - TIE
    )


def _best_mix(points: Sequence[tuple[float, float]], cost: float) -> float:
    """Give the highest AP of a mix of two points at a cost between theirs."""
    cheaper = [point for point in points if point[0] < cost]
    dearer = [point for point in points if point[0] > cost]
    return max(
        (
            low_ap + (high_ap - low_ap) * (cost - low) / (high - low)
            for low, low_ap in cheaper
            for high, high_ap in dearer
        ),
        default=-math.inf,
    )

"""Energy: the power budget and what the battery allows."""

from __future__ import annotations

import math

from .battery import Battery
from .bound import Bound
from .power import PowerModel
from .settings import ControllerSettings
from .signals import Signals
from .targets import Targets


class EnergyLaw:
    """The highest level whose predicted power fits the budget and the battery.

    With a mission end the energy above the reserve divided by the remaining time is an allowance
    in watts; too little use now is more allowance later. Without an end, or after it, the level
    falls to 0 over the last few percent above the reserve. A battery that was never readable gives
    the middle of the ladder: it neither drains unseen nor cripples the robot.
    """

    def __init__(self, power: PowerModel, settings: ControllerSettings) -> None:
        self._power = power
        self._settings = settings
        self._battery = Battery(power, settings)

    def observe(self, signals: Signals, targets: Targets, level: int, step_s: float) -> None:
        """Take in what was measured while a level ran."""
        self._power.observe(level, signals.power_w, signals.rate_hz, step_s)
        self._battery.observe(signals, targets, level, step_s)

    def bounds(self, signals: Signals, targets: Targets, current: int, top: int) -> list[Bound]:
        """Give the bounds of the power budget and of the battery, where there are such targets."""
        bounds, settings = [], self._settings
        if targets.power_budget_w is not None:
            bounds.append(
                self._within(
                    targets.power_budget_w, 'power budget', current, top, settings.power_hysteresis
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
                return self._within(
                    allowed_w, what, current, top, self._settings.battery_hysteresis
                )
        return self._taper(charge, targets.battery_reserve or 0.0, top)

    def _taper(self, charge: float, reserve: float, top: int) -> Bound:
        share = (charge - reserve) / self._settings.battery_taper
        level = min(max(math.ceil(share * top), 0), top)
        return Bound(level, f'battery {charge:.1%} for a reserve of {reserve:.1%}', 'energy')

    def _within(
        self, allowed_w: float, what: str, current: int, top: int, hysteresis: float
    ) -> Bound:
        for level in range(top, -1, -1):
            room = 1 - hysteresis if level > current else 1.0
            if level == 0 or self._power.power_w(level) <= allowed_w * room:
                break
        next_w = self._power.power_w(min(level + 1, top))
        cause = f'{allowed_w:.1f} W {what}, next level needs {next_w:.1f} W'
        return Bound(level, cause if level < top else f'within {allowed_w:.1f} W {what}', 'energy')

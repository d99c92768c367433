"""The battery: counted charge, and the power that lasts to the end of the mission."""

from __future__ import annotations

import math

from .capacity import Capacity, FallingGauge, LEARN_FALL
from .power import PowerModel
from .settings import ControllerSettings
from .signals import Signals
from .targets import Targets


class Battery:
    """Counts the charge down with the power used and follows the gauge slowly.

    So a sagging voltage or a gauge in steps of one percent does not show in the allowance, and a
    gauge that falls silent is replaced by counting. Until the capacity is known (given, or learned
    from power and a fall of the gauge) only the gauge counts. Where power is not measured, the
    fall of the gauge corrects what the levels are thought to draw.
    """

    def __init__(self, power: PowerModel, settings: ControllerSettings) -> None:
        self._power = power
        self._settings = settings
        self.charge: float | None = None
        self._gauge = FallingGauge()
        self._capacity = Capacity()

    def observe(self, signals: Signals, targets: Targets, level: int, step_s: float) -> None:
        """Take in one reading, or the lack of one.

        Args:
            signals: sanitised.
            targets: for the capacity.
            level: level that ran since the last decision.
            step_s: seconds since then.
        """
        gauge = signals.battery
        if gauge is not None and (self.charge is None or signals.charging):
            self.charge = gauge
            self._gauge.restart()
        if self.charge is None or signals.charging:
            return
        power_w = signals.power_w
        used_j = step_s * (self._power.power_w(level) if power_w is None else power_w)
        capacity_j = self._capacity_j(targets)
        if capacity_j is not None:
            self.charge -= used_j / capacity_j
        if gauge is not None:
            filter_s = self._settings.battery_filter_s if capacity_j is not None else step_s
            share = step_s / (filter_s + step_s) if step_s > 0 else 0.0
            self.charge += (gauge - self.charge) * share
            self._learn(gauge, used_j, capacity_j, step_s)
        self.charge = min(max(self.charge, 0.0), 1.0)

    def allowance_w(self, signals: Signals, targets: Targets) -> float | None:
        """Give the power that lasts to the mission's end in watts; None if that is unknown."""
        capacity_j = self._capacity_j(targets)
        if targets.mission_end_s is None or capacity_j is None or self.charge is None:
            return None
        if math.isnan(signals.time_s):
            return None
        aim = (targets.battery_reserve or 0.0) + self._settings.battery_margin
        left_s = max(targets.mission_end_s - signals.time_s, self._settings.mission_horizon_s)
        return max(self.charge - aim, 0.0) * capacity_j / left_s

    def _capacity_j(self, targets: Targets) -> float | None:
        wh = self._capacity.wh(targets.battery_wh)
        return None if wh is None else 3600 * wh

    def _learn(self, gauge: float, used_j: float, capacity_j: float | None, step_s: float) -> None:
        """Learn the capacity from measured power, or the power from a known capacity."""
        fall = self._gauge.observe(gauge, used_j, step_s)
        if fall is None:
            return
        if self._power.measured:
            self._capacity.learn(fall)
        elif capacity_j is not None and fall.share >= LEARN_FALL and fall.seconds > 0:
            self._power.correct((fall.share * capacity_j - fall.used_j) / fall.seconds)
            self._gauge.restart(gauge)

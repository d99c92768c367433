"""Keeps the newest of everything a controller is told, and forgets what is stale."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from anydepth_core.control.readings import BatteryReading, FrameReport, JetsonReadings
from anydepth_core.control.signals import Signals

Value = TypeVar('Value')

RATE_WINDOW_S = 2.0
TOTAL_RAILS = ('VDD_IN', 'POM_5V_IN')  # rails that everything else hangs on


@dataclass
class _Kept(Generic[Value]):
    """A value and when it came."""

    value: Value
    time_s: float


@dataclass
class SignalBoard:
    """Collects readings and makes the signals of a moment from those that are fresh.

    What is older than ``timeout_s`` counts as unknown; the law says what it does without. A topic
    is preferred to the sensors of the machine: somebody has connected it on purpose.

    Attributes:
        timeout_s: age at which a reading is stale.
    """

    timeout_s: float = 5.0
    _frame: _Kept[FrameReport] | None = None
    _new_frame: bool = False
    _battery: _Kept[BatteryReading] | None = None
    _own_battery: _Kept[BatteryReading] | None = None
    _power: _Kept[float] | None = None
    _own_power: _Kept[float] | None = None
    _over_current: _Kept[bool] | None = None
    _temperatures: dict[str, _Kept[float]] = field(default_factory=dict)
    _images: deque[tuple[float, int]] = field(default_factory=deque)

    def frame(self, now_s: float, report: FrameReport) -> None:
        """Note what the detector says of an image."""
        before = self._frame
        left_out = 0 if before is None else max(0, report.dropped - before.value.dropped)
        self._frame, self._new_frame = _Kept(report, now_s), True
        self._images.append((now_s, 1 + left_out))

    def battery(self, now_s: float, reading: BatteryReading) -> None:
        """Note a battery message."""
        self._battery = _Kept(reading, now_s)

    def temperature(self, now_s: float, zone: str, celsius: float) -> None:
        """Note a temperature."""
        self._temperatures[zone] = _Kept(celsius, now_s)

    def jetson(self, now_s: float, readings: JetsonReadings) -> None:
        """Note the diagnostics of a Jetson."""
        for zone, celsius in readings.temperatures_c.items():
            self.temperature(now_s, zone, celsius)
        total = next(
            (readings.rails_w[rail] for rail in TOTAL_RAILS if rail in readings.rails_w), None
        )
        if total is None and readings.rails_w:
            total = sum(readings.rails_w.values())
        if total is not None:
            self._power = _Kept(total, now_s)

    def machine(
        self,
        now_s: float,
        temperatures_c: dict[str, float],
        power_w: float | None,
        battery: BatteryReading,
        over_current: bool | None,
    ) -> None:
        """Note what the sensors of this machine say."""
        for zone, celsius in temperatures_c.items():
            self.temperature(now_s, zone, celsius)
        if power_w is not None:
            self._own_power = _Kept(power_w, now_s)
        if battery.fraction is not None:
            self._own_battery = _Kept(battery, now_s)
        if over_current is not None:
            self._over_current = _Kept(over_current, now_s)

    def depth_mode(self, now_s: float) -> str:
        """Return who owns the depth, '' if the detector has not been heard lately."""
        report = self._fresh(self._frame, now_s)
        return '' if report is None else report.depth_mode

    def served_level(self, now_s: float) -> int | None:
        """Return the level of the newest image, None if unknown."""
        report = self._fresh(self._frame, now_s)
        return None if report is None else report.level

    def temperatures_c(self, now_s: float) -> dict[str, float]:
        """Return the temperatures that are known now, by zone."""
        zones = {zone: self._fresh(kept, now_s) for zone, kept in self._temperatures.items()}
        return {zone: value for zone, value in zones.items() if value is not None}

    def signals(self, now_s: float) -> Signals:
        """Return what is known now; a frame is told once."""
        report = self._fresh(self._frame, now_s) if self._new_frame else None
        self._new_frame = False
        battery = self._fresh(self._battery, now_s) or self._fresh(self._own_battery, now_s)
        power_w = self._fresh(self._power, now_s)
        return Signals(
            time_s=now_s,
            latency_ms=None if report is None else report.latency_ms,
            latency_level=None if report is None else report.level,
            rate_hz=self._rate_hz(now_s),
            temperatures_c=self.temperatures_c(now_s),
            power_w=self._fresh(self._own_power, now_s) if power_w is None else power_w,
            battery=None if battery is None else battery.fraction,
            charging=None if battery is None else battery.charging,
            over_current=self._fresh(self._over_current, now_s),
        )

    def _fresh(self, kept: _Kept[Value] | None, now_s: float) -> Value | None:
        return kept.value if kept is not None and now_s - kept.time_s <= self.timeout_s else None

    def _rate_hz(self, now_s: float) -> float | None:
        while self._images and now_s - self._images[0][0] > RATE_WINDOW_S:
            self._images.popleft()
        if len(self._images) < 2:
            return None
        seconds = self._images[-1][0] - self._images[0][0]
        arrived = sum(count for _, count in self._images) - self._images[0][1]
        return arrived / seconds if seconds > 0 else None

"""How the law behaves; what it keeps to is in `targets`."""

from __future__ import annotations

from dataclasses import dataclass, fields
import math

LARGEST = 1e9
ABOVE_ZERO = (  # the law divides by them, or counts with them
    'dwell_up_s',
    'dwell_down_s',
    'tracking_dwell_s',
    'latency_window',
    'latency_forget_s',
    'latency_confirm',
    'drift_ratio',
    'raise_hold_s',
    'explore_s',
    'safety_hold_s',
    'over_current_hold_s',
    'temperature_filter_s',
    'temperature_settle_s',
    'power_filter_s',
    'power_own_filter_s',
    'battery_filter_s',
    'battery_taper',
    'mission_horizon_s',
)


@dataclass(frozen=True)
class ControllerSettings:
    """Constants of the law. Times are seconds of `Signals.time_s`, counted as `clock` does."""

    longest_step_s: float = 5.0
    """More than this between two decisions counts as this much: the clock may have jumped."""

    dwell_up_s: float = 3.0
    """Time since the last change before a higher level, in deadline mode."""
    dwell_down_s: float = 0.5
    """Time since the last change before a lower level, in deadline mode; safety need not wait."""
    tracking_dwell_s: float = 0.1
    """Time between changes in tracking mode, where they make up a mean."""

    latency_gain: float = 0.05
    """Weight of one frame in the common cost scale (about 20 frames to follow)."""
    latency_own_gain: float = 0.01
    """Weight of one frame in the correction of its own level."""
    latency_window: int = 100
    """Newest frames whose 95th percentile is the safety margin."""
    latency_confirm: int = 5
    """Frames whose median must leave the usual spread before the estimate jumps there."""
    latency_forget_s: float = 10.0
    """Age from which the correction of a level that is not served fades, and how fast."""
    drift_ratio: float = 1.25
    """Measured over profile latency, or its inverse, that counts as drift."""
    drift_s: float = 60.0
    """Time this must last before the profile is called out of date."""

    deadline_hysteresis: float = 0.05
    """A higher level must fit the deadline by this share more than staying needs."""
    raise_trial_s: float = 5.0
    """A higher level that is left sooner than this was too slow."""
    raise_hold_s: float = 3.0
    """Time before a level that was too slow is tried again; doubles with every failure."""
    raise_hold_max_s: float = 60.0
    """Longest such time."""
    explore_s: float = 60.0
    """Time after which the next level is tried though it is not predicted to fit, because what is
    known of it is old; doubles with every failure, up to 8 times."""
    explore_over: float = 1.5
    """Only a level that is predicted to need no more than this much of the deadline is tried."""
    fall_s: float = 2.0
    """A fall that follows another within this time goes twice as far."""
    miss_rate: float = 0.05
    """Share of late frames to allow."""
    margin_kp: float = 0.5
    """Extra latency margin per share of late frames over `miss_rate`."""
    margin_ki: float = 0.01
    """The same, added up per frame."""
    margin_max: float = 0.3
    """Largest extra margin, as a share of the latency."""

    tracking_kp: float = 0.6
    """Correction of the wanted mean latency per error of the measured mean."""
    tracking_ki: float = 0.1
    """The same, added up per frame."""
    tracking_memory: float = 0.85
    """Weight of the past in the measured mean (causal, exponential), per frame."""

    hard_release_c: float = 3.0
    """Degrees under the hard limit before safety lets go."""
    safety_hold_s: float = 10.0
    """Shortest time at level 0 after a hard limit."""
    over_current_hold_s: float = 30.0
    """Time at level 0 after an over-current; doubles each time it comes back, up to 16 times."""

    temperature_filter_s: float = 3.0
    """Time constant of the temperature; five times as much for its slope."""
    temperature_lookahead_s: float = 10.0
    """The soft limit acts on the temperature expected so much later."""
    temperature_band_c: float = 3.0
    """Degrees under the soft limit before a higher level is tried."""
    temperature_settle_s: float = 10.0
    """Time a reduction gets to show its effect; a quarter of it half way to the hard limit."""
    temperature_hold_s: float = 60.0
    """Time before a level that was too hot is tried again; doubles with every failure."""
    temperature_hold_max_s: float = 480.0
    """Longest such time."""

    power_filter_s: float = 10.0
    """Time constant of the power the device draws besides its frames."""
    power_own_filter_s: float = 60.0
    """Time constant of the correction of one level's power."""
    power_hysteresis: float = 0.03
    """A higher level must fit the power allowance by this share more than staying needs."""
    battery_hysteresis: float = 0.01
    """The same for the allowance of the battery, which waits by itself: it moves slowly."""
    power_stale_s: float = 10.0
    """Age from which on measured power counts as unknown."""
    battery_filter_s: float = 120.0
    """Time constant with which the gauge corrects the counted charge."""
    battery_hold_s: float = 60.0
    """Time a level the battery asked for is kept before it allows a higher one."""
    battery_margin: float = 0.003
    """State of charge to aim for above the reserve."""
    battery_taper: float = 0.05
    """Without a mission end the level falls to 0 over this much charge above the reserve."""
    mission_horizon_s: float = 5.0
    """Shortest remaining time to divide energy by."""

    def __post_init__(self) -> None:
        """Check the constants.

        Raises:
            ValueError: if one is not legal; the message says what is.
        """
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            legal = math.isfinite(value) and 0 <= value <= LARGEST
            if not legal or (value == 0 and name in ABOVE_ZERO):
                least = 'above 0' if name in ABOVE_ZERO else '0 or more'
                raise ValueError(f'{name} must be {least} and at most {LARGEST:g}, not {value}')

    def most_changes_per_minute(self, mode: str) -> int:
        """Give the most level changes in any minute while targets stay as they are.

        Changes are a dwell apart, but for drops to level 0 by safety, which are a hold apart.
        """
        deadline_s = min(self.dwell_up_s, self.dwell_down_s)
        dwell_s = self.tracking_dwell_s if mode == 'tracking' else deadline_s
        hold_s = min(self.safety_hold_s, self.over_current_hold_s)
        return int(60 / dwell_s) + int(60 / hold_s) + 2

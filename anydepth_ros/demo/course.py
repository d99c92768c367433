"""The course of the demo: its parts, and what is set when; no ROS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from anydepth_core.export.bundle import Bundle

BY_HAND, BUDGET, HEAT = 'by hand', 'budget', 'heat'
SHARES = {BY_HAND: 10, BUDGET: 15, HEAT: 35}
LEVELS_BY_HAND = 5

TIGHT = (0.3, 0.7)
"""From where to where the tight budget holds, as shares of its part."""
LIMITS_END = 0.9
"""When the temperature limits are lifted, as a share of their part: the law itself waits a minute
before it tries a level again that was too hot."""
SOFT_C, HARD_C = 90.0, 95.0


@dataclass(frozen=True)
class Part:
    """A part of the demo: its name, and from when to when in seconds."""

    name: str
    start_s: float
    end_s: float

    def at(self, share: float) -> float:
        """Return the second at which a share of the part has passed."""
        return self.start_s + share * (self.end_s - self.start_s)

    def holds(self, time_s: float) -> bool:
        """Whether a moment lies in the part."""
        return self.start_s <= time_s < self.end_s


@dataclass(frozen=True)
class Setting:
    """A live parameter, on ``detector`` or ``controller``, and when it is due, in seconds."""

    time_s: float
    node: str
    parameter: str
    value: int | float | str


@dataclass(frozen=True)
class Budgets:
    """Latency budgets in milliseconds: one that every depth meets, one that the dear ones miss."""

    comfortable_ms: float
    tight_ms: float


def parts_of(seconds: float) -> tuple[Part, ...]:
    """Divide the time of the demo among its parts."""
    unit = seconds / sum(SHARES.values())
    parts, start_s = [], 0.0
    for name, share in SHARES.items():
        parts.append(Part(name, start_s, start_s + share * unit))
        start_s += share * unit
    return tuple(parts)


def depths_by_hand(bundle: Bundle, chosen: str) -> list[int | str]:
    """List the depths to go through by hand: down the ladder and back to full, or those chosen."""
    if chosen:
        return [
            int(word) if word.isdecimal() and len(word) < 4 else word for word in chosen.split(',')
        ]
    levels = len(bundle.ladder)
    steps = np.linspace(levels - 1, 0, min(levels, LEVELS_BY_HAND))
    return [*(round(float(step)) for step in steps), 'full']


def by_hand(part: Part, depths: Sequence[int | str]) -> list[Setting]:
    """Go through depths, each for the same time."""
    return [
        Setting(part.at(index / len(depths)), 'detector', 'depth', depth)
        for index, depth in enumerate(depths)
    ]


def budget(part: Part, budgets: Budgets) -> list[Setting]:
    """Hand the depth to the controller, and tighten the budget for a while."""
    begin, end = TIGHT
    return [
        Setting(part.start_s, 'controller', 'deadline_ms', budgets.comfortable_ms),
        Setting(part.start_s, 'detector', 'depth_mode', 'auto'),
        Setting(part.at(begin), 'controller', 'deadline_ms', budgets.tight_ms),
        Setting(part.at(end), 'controller', 'deadline_ms', budgets.comfortable_ms),
    ]


def heat(part: Part) -> list[Setting]:
    """Take the budget away and set temperature limits for most of the part."""
    return [
        Setting(part.start_s, 'controller', 'deadline_ms', 0.0),
        Setting(part.start_s, 'controller', 'temperature_soft_c', SOFT_C),
        Setting(part.start_s, 'controller', 'temperature_hard_c', HARD_C),
        Setting(part.at(LIMITS_END), 'controller', 'temperature_soft_c', 0.0),
        Setting(part.at(LIMITS_END), 'controller', 'temperature_hard_c', 0.0),
    ]


def budgets_of(measured: Iterable[tuple[str, float]]) -> Budgets:
    """Choose budgets that mean something on this machine.

    Args:
        measured: depth and latency in milliseconds of each frame, at least one.

    Returns:
        Comfortable: with room over the dearest depth. Tight: half way between the cheapest and the
        dearest; where only one was measured, a fifth under it. The lower quartile stands for a
        depth: other programs only ever add to its latency.
    """
    by_depth: dict[str, list[float]] = {}
    for depth, latency_ms in measured:
        by_depth.setdefault(depth, []).append(latency_ms)
    usual = {depth: float(np.percentile(values, 25)) for depth, values in by_depth.items()}
    dearest = max(usual, key=lambda depth: usual[depth])
    dear_ms, cheap_ms = usual[dearest], min(usual.values())
    tail_ms = float(np.percentile(by_depth[dearest], 95))
    comfortable_ms = max(1.6 * dear_ms, min(1.25 * tail_ms, 3 * dear_ms))
    tight_ms = (cheap_ms + dear_ms) / 2 if len(usual) > 1 else 0.8 * dear_ms
    return Budgets(_rounded(comfortable_ms), _rounded(tight_ms))


def _rounded(milliseconds: float) -> float:
    """Round to what is pleasant to read."""
    return round(milliseconds, 0 if milliseconds >= 10 else 2)

"""Draws a calibration: every operating point as a dot, AP against cost and latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anydepth_core.plotting import FAINT, GRID, INK, new_rows, save, SOFT

_POINT, _LADDER = '#8fa0d8', '#3b4cc0'
_AXES = {'giga': 'multiply-adds of one image, 10^9', 'milliseconds': 'inference time here, ms'}


@dataclass(frozen=True)
class Dot:
    """One operating point as drawn.

    Attributes:
        ap: average precision, 0 to 1.
        giga: multiply-adds of one image in 10^9, None where unknown.
        milliseconds: median inference time, None where it was not measured.
        name: what stands beside it, may be empty.
    """

    ap: float
    giga: float | None
    milliseconds: float | None = None
    name: str = ''


@dataclass(frozen=True)
class Picture:
    """What a picture shows.

    Attributes:
        points: every operating point that was measured.
        ladder: the chosen levels, cheapest first.
        uncalibrated: the levels before their norms were re-estimated.
        peers: other detectors by name.
    """

    points: Sequence[Dot]
    ladder: Sequence[Dot]
    uncalibrated: Sequence[Dot] = ()
    peers: Mapping[str, Sequence[Dot]] = field(default_factory=dict)


def draw(picture: Picture, path: str | Path) -> None:
    """Write the picture as PNG, as a whole or not at all.

    It has a row for multiply-adds and, where times were measured, a row for inference time.

    Raises:
        ImportError: if matplotlib is missing.
    """
    timed = any(dot.milliseconds is not None for dot in picture.ladder)
    axes_shown = list(_AXES)[: 2 if timed else 1]
    figure, axes = new_rows(9.0, [4.2] * len(axes_shown), share_x=False)
    for axis, quantity in zip(axes, axes_shown):
        _row(axis, picture, quantity)
    save(figure, path)


def _row(axis: Any, picture: Picture, quantity: str) -> None:
    def scatter(dots: Sequence[Dot], **style: Any) -> None:
        known = [dot for dot in dots if getattr(dot, quantity) is not None]
        if known:
            axis.plot(
                [getattr(dot, quantity) for dot in known],
                [dot.ap for dot in known],
                **{'marker': 'o', 'linestyle': '', **style},
            )

    scatter(picture.points, color=_POINT, markersize=5, label='operating point')
    hollow = {'markerfacecolor': 'none', 'markeredgecolor': SOFT, 'markersize': 7}
    scatter(picture.uncalibrated, **hollow, label='level, uncalibrated')
    for number, (name, dots) in enumerate(picture.peers.items()):
        scatter(dots, color=FAINT, marker='s^Dv*'[number % 5], label=name)
    scatter(picture.ladder, color=_LADDER, linestyle='-', markersize=8, label='ladder')
    for dot in picture.ladder:
        if getattr(dot, quantity) is not None:
            axis.annotate(
                dot.name,
                (getattr(dot, quantity), dot.ap),
                xytext=(6, -12),
                textcoords='offset points',
                fontsize=8,
                color=INK,
            )
    axis.set_xlabel(_AXES[quantity], color=INK)
    axis.set_ylabel('AP', color=INK)
    axis.grid(axis='x', color=GRID, linewidth=0.8)
    axis.legend(loc='lower right', fontsize=8, frameon=False, labelcolor=INK)

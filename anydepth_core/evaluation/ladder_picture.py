"""Draws a calibration: every operating point as a dot, AP against cost and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anydepth_core.plotting import FAINT, GRID, INK, new_rows, save, SOFT

_POINT, _LADDER = '#8fa0d8', '#3b4cc0'
_COST = 'multiply-adds of one image, 10^9'
_TIME = 'inference time, that of the cheapest level is 1'


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

    It has a row for multiply-adds and, where times were measured, a row for inference time. That
    is relative to the cheapest level, because a picture is shown far from the machine it was
    measured on; the table of ``anydepth calibrate`` has milliseconds.

    Raises:
        ImportError: if matplotlib is missing.
    """
    rows: dict[str, Callable[[Dot], float | None]] = {_COST: lambda dot: dot.giga}
    if times := [dot.milliseconds for dot in picture.ladder if dot.milliseconds is not None]:
        rows[_TIME] = lambda dot: None if dot.milliseconds is None else dot.milliseconds / times[0]
    figure, axes = new_rows(9.0, [4.2] * len(rows), share_x=False)
    for axis, (name, quantity) in zip(axes, rows.items()):
        _row(axis, picture, quantity)
        axis.set_xlabel(name, color=INK)
    save(figure, path)


def _row(axis: Any, picture: Picture, quantity: Callable[[Dot], float | None]) -> None:
    def scatter(dots: Sequence[Dot], **style: Any) -> None:
        known = [(x, dot.ap) for dot in dots if (x := quantity(dot)) is not None]
        if known:
            axis.plot(*zip(*known), **{'marker': 'o', 'linestyle': '', **style})

    scatter(picture.points, color=_POINT, markersize=5, label='operating point')
    hollow = {'markerfacecolor': 'none', 'markeredgecolor': SOFT, 'markersize': 7}
    scatter(picture.uncalibrated, **hollow, label='level, uncalibrated')
    for number, (name, dots) in enumerate(picture.peers.items()):
        scatter(dots, color=FAINT, marker='s^Dv*'[number % 5], label=name)
    scatter(picture.ladder, color=_LADDER, linestyle='-', markersize=8, label='ladder')
    for dot in picture.ladder:
        if (x := quantity(dot)) is not None:
            axis.annotate(
                dot.name,
                (x, dot.ap),
                xytext=(6, -12),
                textcoords='offset points',
                fontsize=8,
                color=INK,
            )
    axis.margins(x=0.1)  # room for the names
    axis.set_ylabel('AP', color=INK)
    axis.grid(axis='x', color=GRID, linewidth=0.8)
    axis.legend(loc='best', fontsize=8, frameon=False, labelcolor=INK)

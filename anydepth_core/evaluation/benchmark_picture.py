"""Draws a benchmark's report: AP against latency, levels, the ladder through them, and peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anydepth_core.evaluation.benchmark import BenchmarkReport, Spread
from anydepth_core.plotting import FAINT, GRID, INK, legend, new_rows, save, shades, title

_MARKERS = 's^Dv<>pP'


def can_draw(report: BenchmarkReport) -> bool:
    """Whether any operating point has an AP."""
    return any(point.ap is not None for point in report.points)


def draw(report: BenchmarkReport, path: str | Path) -> None:
    """Write the picture as PNG, as a whole or not at all; what has no AP is left out.

    Args:
        report: see :func:`can_draw`.
        path: the file.

    Raises:
        ImportError: if matplotlib is missing.
    """
    figure, (axis,) = new_rows(9, [4.4])
    _ladder(axis, report)
    _peers(axis, report)
    machine = report.machine
    title(axis, f'{report.model} on {report.runs_on}\n{machine.accelerator or machine.device}')
    axis.grid(axis='x', color=GRID, linewidth=0.8)
    axis.set_xlabel('inference (ms): median, line to the 95th percentile', color=INK)
    axis.set_ylabel('AP', color=INK)
    axis.set_xlim(left=0)
    axis.margins(y=0.12)
    legend(axis)
    save(figure, path)


def _ladder(axis: Any, report: BenchmarkReport) -> None:
    points = [point for point in report.points if point.ap is not None]
    rungs = sorted((point for point in points if point.level is not None), key=_level)
    axis.plot(
        [point.inference.p50_ms for point in rungs],
        [point.ap for point in rungs],
        color=INK,
        linewidth=1.0,
        label='ladder' if rungs else '_',
    )
    colours = dict(zip([point.level for point in rungs], shades(len(rungs))))
    for point in points:
        name = 'beside the ladder' if point.level is None else f'level {point.level}'
        _dot(
            axis,
            point.inference,
            point.ap,
            'o',
            colours.get(point.level, FAINT),
            f'{name}: {point.depth}, {point.image_size[0]}x{point.image_size[1]}',
        )


def _peers(axis: Any, report: BenchmarkReport) -> None:
    for number, peer in enumerate(report.peers):
        if peer.ap is not None:
            marker = _MARKERS[number % len(_MARKERS)]
            _dot(axis, peer.inference, peer.ap, marker, FAINT, peer.name)


def _dot(axis: Any, time: Spread, ap: float | None, marker: str, colour: Any, label: str) -> None:
    axis.errorbar(
        [time.p50_ms],
        [ap],
        xerr=[[0.0], [time.jitter_ms]],
        fmt=marker,
        color=colour,
        markersize=8,
        capsize=3,
        linewidth=1.2,
        zorder=3,
        label=label,
    )


def _level(point: Any) -> int:
    return point.level

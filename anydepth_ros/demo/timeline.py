"""Draws the timeline of a run: depth, latency and detections over one time axis; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from anydepth_core.files import replacing
from anydepth_ros.demo.report import Frame, Recording

INK, GRID = '#2b2b33', '#e3e3e8'


def draw_timeline(recording: Recording, path: Path) -> None:
    """Write the picture.

    Args:
        recording: a run with at least one frame.
        path: the PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # loaded at the end of a run only
    from matplotlib.figure import Figure

    frames = recording.frames
    colours = _colours(recording.depths())
    figure = Figure(figsize=(11, 6.6), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    rows = figure.subplots(3, 1, sharex=True, height_ratios=(1.1, 1.7, 1.0))
    for axis in rows:
        _style(axis)
        for depth, start, end in _spans(frames):
            axis.axvspan(start, end, color=colours[depth], alpha=0.07, linewidth=0)
    _depth_row(rows[0], frames, recording.depths(), colours)
    _latency_row(rows[1], frames, colours)
    _detections_row(rows[2], frames, colours)
    rows[0].set_title(_title(recording), color=INK, fontsize=12, loc='left', pad=10)
    rows[2].set_xlabel('seconds after the first detections', color=INK)
    rows[2].set_xlim(0, max(frames[-1].time_s, 1e-3))
    figure.align_ylabels(rows)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _title(recording: Recording) -> str:
    frames = len(recording.frames)
    return f'{frames} frames answered at {recording.fps():.1f} fps, {recording.dropped} dropped'


def _depth_row(
    axis: Any, frames: Sequence[Frame], depths: Sequence[str], colours: dict[str, Any]
) -> None:
    """Show which depth was in force, cheapest at the bottom."""
    rank = {depth: index for index, depth in enumerate(reversed(depths))}
    for depth, start, end in _spans(frames):
        height = [rank[depth]] * 2
        axis.plot([start, end], height, color=colours[depth], linewidth=7, solid_capstyle='butt')
    axis.set_yticks(list(rank.values()), list(rank), family='monospace')
    axis.set_ylim(-0.6, len(rank) - 0.4)
    axis.set_ylabel('depth', color=INK)


def _latency_row(axis: Any, frames: Sequence[Frame], colours: dict[str, Any]) -> None:
    """Show each frame's latency and the median of each stretch of one depth."""
    latency = [f.latency_ms for f in frames]
    top = 1.2 * float(np.percentile(latency, 98))
    shown = [min(value, 0.985 * top) for value in latency]  # outliers lie on the upper edge
    times, shades = [f.time_s for f in frames], [colours[f.depth] for f in frames]
    axis.scatter(times, shown, s=10, c=shades, alpha=0.6, linewidths=0)
    for (depth, start, end), group in zip(_spans(frames), _groups(frames)):
        median = float(np.median([f.latency_ms for f in group]))
        axis.plot([start, end], [median, median], color=colours[depth], linewidth=2)
        axis.annotate(
            f'{median:.0f}',
            ((start + end) / 2, 0),
            (0, 5),
            textcoords='offset points',
            color=INK,
            fontsize=10,
            ha='center',
        )
    axis.set_ylim(0, top)
    axis.set_ylabel('latency (ms)\nline, number: median', color=INK)


def _detections_row(axis: Any, frames: Sequence[Frame], colours: dict[str, Any]) -> None:
    """Show how many objects each frame had."""
    times, counts = [f.time_s for f in frames], [f.detections for f in frames]
    gap = float(np.median(np.diff(times))) if len(times) > 1 else 0.1
    shades = [colours[f.depth] for f in frames]
    axis.bar(times, counts, 1.05 * gap, align='edge', color=shades, linewidth=0)
    axis.set_ylim(0, max(*counts, 1) * 1.15)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel('detections', color=INK)


def _style(axis: Any) -> None:
    axis.grid(axis='y', color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, length=0)
    for side in ('top', 'right', 'left'):
        axis.spines[side].set_visible(False)
    axis.spines['bottom'].set_color(GRID)


def _colours(depths: Sequence[str]) -> dict[str, Any]:
    """Give each depth a colour, from dear (dark) to cheap (bright)."""
    from matplotlib import colormaps

    steps = np.linspace(0.08, 0.78, max(len(depths), 1))
    return {depth: colormaps['plasma'](step) for depth, step in zip(depths, steps)}


def _groups(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return the stretches of frames with one depth."""
    return [list(group) for _, group in groupby(frames, key=lambda frame: frame.depth)]


def _spans(frames: Sequence[Frame]) -> list[tuple[str, float, float]]:
    """Return depth, start and end of each stretch; a stretch ends where the next begins."""
    groups = _groups(frames)
    ends = [group[0].time_s for group in groups[1:]] + [frames[-1].time_s]
    return [(group[0].depth, group[0].time_s, end) for group, end in zip(groups, ends)]

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
    figure.suptitle(
        'Depth, latency and detections, frame by frame', color=INK, fontsize=13, x=0.01, ha='left'
    )
    for axis in rows:
        _style(axis)
        for depth, start, end in _spans(frames):
            axis.axvspan(start, end, color=colours[depth], alpha=0.08, linewidth=0)
    _depth_row(rows[0], frames, recording.depths(), colours)
    _latency_row(rows[1], frames, colours)
    _detections_row(rows[2], frames, colours)
    rows[2].set_xlabel('seconds after the first detections', color=INK)
    rows[2].set_xlim(0, max(frames[-1].time_s, 1e-3))
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _depth_row(
    axis: Any, frames: Sequence[Frame], depths: Sequence[str], colours: dict[str, Any]
) -> None:
    """Show which depth was in force, cheapest at the bottom."""
    rank = {depth: index for index, depth in enumerate(reversed(depths))}
    for depth, start, end in _spans(frames):
        axis.plot(
            [start, end],
            [rank[depth]] * 2,
            color=colours[depth],
            linewidth=6,
            solid_capstyle='butt',
        )
    axis.set_yticks(list(rank.values()), list(rank), family='monospace')
    axis.set_ylim(-0.6, len(rank) - 0.4)
    axis.set_ylabel('depth', color=INK)


def _latency_row(axis: Any, frames: Sequence[Frame], colours: dict[str, Any]) -> None:
    """Show each frame's latency and the median of each stretch of one depth."""
    times = [f.time_s for f in frames]
    latency = [f.latency_ms for f in frames]
    axis.scatter(times, latency, s=9, c=[colours[f.depth] for f in frames], linewidths=0)
    for (depth, start, end), group in zip(_spans(frames), _groups(frames)):
        median = float(np.median([f.latency_ms for f in group]))
        axis.plot([start, end], [median, median], color=colours[depth], linewidth=2)
        label = f'{median:.0f}'
        axis.annotate(
            label, (start, median), (3, 4), textcoords='offset points', color=INK, fontsize=9
        )
    axis.set_ylim(0, 1.15 * float(np.percentile(latency, 99)))
    axis.set_ylabel('latency, image to detections (ms)', color=INK)


def _detections_row(axis: Any, frames: Sequence[Frame], colours: dict[str, Any]) -> None:
    """Show how many objects each frame had."""
    width = 0.9 * frames[-1].time_s / max(len(frames), 1)
    times, counts = [f.time_s for f in frames], [f.detections for f in frames]
    axis.bar(times, counts, width, color=[colours[f.depth] for f in frames])
    axis.set_ylim(0, max(counts) + 0.6)
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

"""Draws the timeline of a run: level, latency, temperature and detections; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import re
from typing import Any

import numpy as np

from anydepth_core.control.replay import cause
from anydepth_core.control.signals import Decision
from anydepth_core.export.bundle import Bundle
from anydepth_core.plotting import FAINT, INK, LIMIT, limit_line, new_rows, save, shades, SOFT
from anydepth_ros.demo.course import BUDGET, BY_HAND, HEAT
from anydepth_ros.demo.recording import Frame, Recording, stretches
from anydepth_ros.demo.report import depths_of
from anydepth_ros.demo.simulated import ZONE

HEADINGS = {
    BY_HAND: ('by hand', 'ros2 param set'),
    BUDGET: ('latency budget', 'the controller keeps it'),
    HEAT: ('heat (simulated)', 'the controller keeps the board under its limits'),
}
TINTS = {BY_HAND: '#8a8a94', BUDGET: '#3b6fc0', HEAT: '#e0701e'}
PAPER = {'facecolor': 'white', 'alpha': 0.7, 'linewidth': 0, 'pad': 0.6}
CHARACTER = 0.0068  # width of a character of a reason, as a share of the time axis
SHORTER = (  # words that the picture says elsewhere
    (re.compile(rf'{ZONE} \S+ C '), ''),  # filtered: not what the curve shows
    (re.compile(r' C soft limit.*'), ' °C'),
    (re.compile(r' C hard limit.*'), ' °C'),
    (re.compile(r'p95 '), ''),
    (re.compile(r' deadline.*'), ''),
    (re.compile(r'(\d+)\.\d+'), r'\1'),
)


def draw_timeline(recording: Recording, bundle: Bundle, path: Path) -> None:
    """Write the picture.

    Args:
        recording: a run with at least one frame.
        bundle: that was served.
        path: the PNG to write.
    """
    rows = rows_of(recording, bundle)
    colours = dict(zip(rows, shades(len(rows))))
    figure, axes = new_rows(12, (1.9, 1.9, 1.5, 0.7))
    last_s = max(recording.frames[-1].time_s, 1e-3)
    for axis in axes:
        _shade_parts(axis, recording, last_s)
    _headings(axes[0], recording, last_s)
    _latency_row(axes[1], recording, colours)
    _temperature_row(axes[2], recording)
    _detections_row(axes[3], recording.frames, colours)
    axes[-1].set_xlabel('seconds after the first detections', color=INK)
    axes[-1].set_xlim(0, last_s)
    _level_row(axes[0], recording, rows, colours)
    save(figure, path)


def rows_of(recording: Recording, bundle: Bundle) -> dict[str, str]:
    """Name the rows of the depths, from below: those beside the ladder, then the ladder.

    Returns:
        By depth with input size as in the frames, the words beside the axis.
    """
    rows = {
        depth: f'{depth}  -' for depth in reversed(depths_of(_beside_the_ladder(recording.frames)))
    }
    for level, point in enumerate(bundle.ladder.points):
        height, width = point.image_size
        size = str(height) if height == width else f'{height}x{width}'
        depth = f'{bundle.space.format(point.depth)}@{size}'
        rows[depth] = f'{depth}  {level}'
    return rows


def short_reason(decision: Decision) -> str:
    """Return the reason of a decision in as few words as the picture needs."""
    words = cause(decision)
    for pattern, shorter in SHORTER:
        words = pattern.sub(shorter, words)
    return words


def _beside_the_ladder(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.level is None]


def _shade_parts(axis: Any, recording: Recording, last_s: float) -> None:
    for part in recording.parts:
        if part.start_s < last_s:
            end_s = min(part.end_s, last_s) if part != recording.parts[-1] else last_s
            axis.axvspan(part.start_s, end_s, color=TINTS[part.name], alpha=0.07, linewidth=0)


def _headings(axis: Any, recording: Recording, last_s: float) -> None:
    """Name the parts above the row."""
    above = axis.get_xaxis_transform()
    for part in recording.parts:
        if part.start_s < last_s:
            name, words = HEADINGS[part.name]
            for text, y, size, weight in ((name, 20, 13, 'bold'), (words, 6, 9, 'normal')):
                axis.annotate(
                    text,
                    (part.start_s, 1),
                    (3, y),
                    xycoords=above,
                    textcoords='offset points',
                    color=TINTS[part.name],
                    fontsize=size,
                    fontweight=weight,
                )


def _level_row(
    axis: Any, recording: Recording, rows: dict[str, str], colours: dict[str, Any]
) -> None:
    """Show which depth was served, dearest on top, and why the controller chose it."""
    height = {depth: index for index, depth in enumerate(rows)}
    spans = stretches(recording.frames)
    times = [group[0].time_s for group, _ in spans] + [spans[-1][1]]
    levels = [height[group[0].depth] for group, _ in spans]
    axis.step(times, [*levels, levels[-1]], where='post', color=FAINT, linewidth=1)
    for (group, end_s), level in zip(spans, levels):
        ends = [group[0].time_s, end_s]
        colour = colours[group[0].depth]
        axis.plot(ends, [level, level], color=colour, linewidth=6, solid_capstyle='butt')
    axis.set_yticks(range(len(rows)), rows.values(), family='monospace', fontsize=9)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_ylabel('depth, level', color=INK)
    _reasons(axis, recording, len(depths_of(_beside_the_ladder(recording.frames))))


def _reasons(axis: Any, recording: Recording, beside: int) -> None:
    """Write beside each change of level why the controller made it, where there is room."""
    last_s = recording.frames[-1].time_s
    written_until_s: dict[int, float] = {}
    for told in recording.reasons():
        words, row = short_reason(told.decision), beside + told.decision.level
        ends_s = told.time_s + last_s * CHARACTER * len(words)
        if told.time_s < written_until_s.get(row, 0.0) or told.time_s > last_s:
            continue
        written_until_s[row] = ends_s
        at_the_edge = ends_s > last_s
        axis.annotate(
            words,
            (last_s if at_the_edge else told.time_s, row),
            (-2 if at_the_edge else 3, 5),
            textcoords='offset points',
            color=INK,
            fontsize=8.5,
            ha='right' if at_the_edge else 'left',
            bbox=PAPER,
        )


def _latency_row(axis: Any, recording: Recording, colours: dict[str, Any]) -> None:
    """Show each frame's latency, the median of each stretch of one depth, and the budget."""
    frames = recording.frames
    times = np.array([frame.time_s for frame in frames])
    latency = np.array([frame.latency_ms for frame in frames])
    budget = _target(recording, 'deadline_ms', times)
    known = budget[np.isfinite(budget)]
    top = 1.15 * max(float(np.percentile(latency, 98)), *known.tolist(), 1e-3)
    dots = [colours[frame.depth] for frame in frames]
    shown = np.minimum(latency, 0.985 * top)  # outliers lie on the upper edge
    axis.scatter(times, shown, s=9, c=dots, alpha=0.55, linewidths=0)
    for group, end_s in stretches(frames):
        median = float(np.median([frame.latency_ms for frame in group]))
        ends = [group[0].time_s, end_s]
        axis.plot(ends, [median, median], color=colours[group[0].depth], linewidth=1.8)
    limit_line(axis, times, budget, LIMIT)
    for since_s, budget_ms in recording.target('deadline_ms'):
        if budget_ms and since_s < times[-1]:
            _label(axis, (since_s, budget_ms), f'budget {budget_ms:g} ms', LIMIT)
    axis.set_ylim(0, top)
    axis.set_ylabel('latency (ms)', color=INK)


def _temperature_row(axis: Any, recording: Recording) -> None:
    """Show the simulated board, with its limits, and as it would be at the dearest level."""
    axis.set_ylabel('board (°C)\nsimulated', color=INK)
    climate = recording.climate
    if not climate:
        return
    times = np.array([point.time_s for point in climate])
    undriven = [point.undriven_c for point in climate]
    axis.plot(times, undriven, ':', color=FAINT, linewidth=1.5)
    axis.plot(times, [point.board_c for point in climate], color=INK, linewidth=1.8)
    for parameter, words, colour, above in (
        ('temperature_soft_c', 'soft limit', SOFT, False),
        ('temperature_hard_c', 'hard limit', LIMIT, True),
    ):
        limit_line(axis, times, _target(recording, parameter, times), colour)
        since = [(time_s, limit_c) for time_s, limit_c in recording.target(parameter) if limit_c]
        if since and since[0][0] < times[-1]:
            _label(axis, since[0], f'{words} {since[0][1]:g} °C', colour, above)
    hottest = int(np.argmax(undriven))
    if undriven[hottest] - climate[hottest].board_c > 1:
        place = (float(times[hottest]), undriven[hottest])
        _label(axis, place, 'if always at full depth', FAINT)
    axis.margins(y=0.2)


def _detections_row(axis: Any, frames: Sequence[Frame], colours: dict[str, Any]) -> None:
    """Show how many objects each frame had."""
    times, counts = [f.time_s for f in frames], [f.detections for f in frames]
    gap = float(np.median(np.diff(times))) if len(times) > 1 else 0.1
    bars = [colours[f.depth] for f in frames]
    axis.bar(times, counts, 1.05 * gap, align='edge', color=bars, linewidth=0)
    axis.set_ylim(0, max(*counts, 1) * 1.15)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel('detections', color=INK)


def _label(
    axis: Any, place: tuple[float, float], words: str, colour: str, above: bool = True
) -> None:
    """Write words over or under the beginning of a line."""
    axis.annotate(
        words,
        place,
        (3, 4 if above else -4),
        textcoords='offset points',
        color=colour,
        fontsize=9,
        va='bottom' if above else 'top',
        bbox=PAPER,
    )


def _target(recording: Recording, parameter: str, times: np.ndarray) -> np.ndarray:
    """Return a target at some moments, NaN where there was none."""
    values = [recording.target_at(parameter, float(time_s)) for time_s in times]
    return np.array([np.nan if value is None else value for value in values], np.float64)

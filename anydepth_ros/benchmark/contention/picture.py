"""Draws the rounds of every policy side by side: latency by level, deadline, hogs; no ROS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from anydepth_core.plotting import FAINT, INK, legend, LIMIT, new_rows, save, shades, title
from anydepth_ros.benchmark.contention.series import Answer, OURS, POLICIES, Round

HEIGHTS_IN = (2.3, 1.05, 1.45, 1.45)
BESIDE = FAINT  # a frame whose depth is not on the ladder


def draw(rounds: Sequence[Round], deadline_ms: float, levels: int, words: str, path: Path) -> None:
    """Write the picture as PNG, as a whole or not at all.

    Args:
        rounds: of all policies; each policy has the same number of them.
        deadline_ms: that frames were to keep.
        levels: length of the ladder.
        words: the title.
        path: the file.

    Raises:
        ImportError: if matplotlib is missing.
    """
    figure, rows = new_rows(12, HEIGHTS_IN)
    colours = dict(enumerate(shades(levels)))
    top_ms = _top_ms(rounds, deadline_ms)
    for policy, axis in zip(POLICIES, (rows[0], rows[2], rows[3])):
        played = [one for one in rounds if one.policy == policy]
        _latency_row(axis, played, deadline_ms, top_ms, colours)
        axis.set_ylabel(f'{policy}\nlatency (ms)', color=INK)
    _level_row(rows[1], [one for one in rounds if one.policy == OURS], colours)
    title(rows[0], words)
    rows[-1].set_xlabel('seconds, one round after the other', color=INK)
    _legend(rows[0], colours)
    save(figure, path)


def _latency_row(
    axis: Any, rounds: Sequence[Round], deadline_ms: float, top_ms: float, colours: dict[int, Any]
) -> None:
    for one, offset_s in _laid_out(axis, rounds):
        times = [offset_s + answer.published_s for answer in one.answers]
        shown = [min(answer.latency_ms, 0.985 * top_ms) for answer in one.answers]
        inks = [_colour(answer, colours) for answer in one.answers]
        axis.scatter(times, shown, s=7, c=inks, linewidths=0)
    axis.axhline(deadline_ms, color=LIMIT, linewidth=1.2, linestyle='--')
    axis.set_ylim(0, top_ms)


def _level_row(axis: Any, rounds: Sequence[Round], colours: dict[int, Any]) -> None:
    for one, offset_s in _laid_out(axis, rounds):
        known = [(a.published_s, a.level) for a in one.answers if a.level is not None]
        times = [offset_s + published_s for published_s, _ in known]
        levels = [level for _, level in known]
        axis.step(times, levels, where='post', color=INK, linewidth=0.8)
        axis.scatter(times, levels, s=5, c=[colours[level] for level in levels], zorder=3)
    axis.set_yticks(list(colours))
    axis.set_ylim(-0.5, len(colours) - 0.5)
    axis.set_ylabel(f'{OURS}\nlevel', color=INK)


def _laid_out(axis: Any, rounds: Sequence[Round]) -> Iterable[tuple[Round, float]]:
    """Shade the hogs of each round, and give it with the second at which it begins."""
    begins = list(accumulate((one.ends_s for one in rounds), initial=0.0))
    for one, offset_s in zip(rounds, begins):
        axis.axvspan(
            offset_s + one.hogs_from_s,
            offset_s + one.hogs_until_s,
            color=FAINT,
            alpha=0.16,
            linewidth=0,
        )
        if offset_s:
            axis.axvline(offset_s, color=INK, linewidth=0.8)
        yield one, offset_s
    axis.set_xlim(0, begins[-1])


def _top_ms(rounds: Sequence[Round], deadline_ms: float) -> float:
    """Return the upper edge of the latencies; outliers lie on it."""
    latencies = [answer.latency_ms for one in rounds for answer in one.answers]
    return 1.15 * max(deadline_ms, float(np.percentile(latencies, 99)) if latencies else 0.0)


def _colour(answer: Answer, colours: dict[int, Any]) -> Any:
    return BESIDE if answer.level is None else colours[answer.level]


def _legend(axis: Any, colours: dict[int, Any]) -> None:
    for level in reversed(colours):
        axis.scatter([], [], s=24, color=colours[level], label=f'level {level}')
    axis.plot([], [], '--', color=LIMIT, label='deadline')
    axis.fill_between([], [], [], color=FAINT, alpha=0.3, label='hogs')
    legend(axis)

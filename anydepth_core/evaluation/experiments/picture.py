"""Draws AP at each depth by variant, a dot for each seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anydepth_core.evaluation.experiments.results import AVERAGED
from anydepth_core.plotting import INK, legend, new_rows, save, title

if TYPE_CHECKING:
    from anydepth_core.evaluation.experiments.report import Results

COLOURS = ('#3b4cc0', '#2b2b33', '#8a8a94', '#e08a1e', '#5aa469', '#c0392b', '#8e5ea2')
"""By place in the list of variants: the method, its baselines, then what is left out."""

WIDTH = 0.8


def draw(results: Results, path: Path) -> None:
    """Write the picture as PNG, as a whole or not at all.

    Raises:
        ImportError: if matplotlib is missing.
    """
    labels, variants = results.labels, results.variants
    figure, (axis,) = new_rows(11.0, [4.6])
    step = WIDTH / max(len(variants), 1)
    for number, variant in enumerate(variants):
        colour = COLOURS[number % len(COLOURS)]
        name: str | None = variant
        for place, label in enumerate(labels):
            values = list(results.ap(variant, label, AVERAGED).values())
            if not values:
                continue
            x = place - WIDTH / 2 + (number + 0.5) * step
            mean = sum(values) / len(values)
            axis.plot([x - step * 0.4, x + step * 0.4], [mean, mean], color=colour, linewidth=2.2)
            axis.plot([x] * len(values), values, 'o', color=colour, markersize=5, label=name)
            name = None
    axis.set_xticks(range(len(labels)), labels, color=INK)
    axis.set_ylabel('AP', color=INK)
    title(axis, f'{results.study}, {results.split}: AP by depth, bars are means over seeds')
    legend(axis)
    save(figure, path)

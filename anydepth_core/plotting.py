"""The look of our pictures over time: rows that share one axis, colours, legends; files whole.

matplotlib is loaded when a picture is drawn, never before: robots do without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anydepth_core.files import replacing

INK, GRID, FAINT = '#2b2b33', '#e3e3e8', '#8a8a94'
SOFT, LIMIT = '#e08a1e', '#c0392b'


def new_rows(
    width_in: float, heights_in: Sequence[float], share_x: bool = True
) -> tuple[Any, list[Any]]:
    """Make a figure of rows, one above the other.

    Args:
        width_in: of the figure, in inches.
        heights_in: of each row, in inches; titles and labels are extra.
        share_x: all rows have one horizontal axis.

    Returns:
        Figure and axes, the upper row first.

    Raises:
        ImportError: if matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            'the picture needs matplotlib: pip install "anydepth-ros[demo]"'
        ) from None
    size = (width_in, 1.1 + sum(heights_in))
    figure = Figure(figsize=size, dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(heights_in), 1, sharex=share_x, height_ratios=heights_in, squeeze=False
    )
    for axis in axes[:, 0]:
        _style(axis)
    return figure, list(axes[:, 0])


def save(figure: Any, path: str | Path) -> None:
    """Write the figure as PNG, as a whole or not at all."""
    figure.align_ylabels()
    with replacing(path) as temporary:
        figure.savefig(temporary)


def title(axis: Any, text: str) -> None:
    """Write a title over the left end of a row."""
    axis.set_title(text, color=INK, fontsize=12, loc='left', pad=10)


def shades(count: int) -> list[Any]:
    """Return so many colours, from cheap (bright) to dear (dark)."""
    from matplotlib import colormaps

    return [colormaps['plasma'](step) for step in np.linspace(0.78, 0.08, count)]


def limit_line(
    axis: Any, time_s: np.ndarray, values: np.ndarray, colour: str, label: str = ''
) -> None:
    """Draw what is not to be passed, dashed, in steps; NaN where there is no limit."""
    if np.isfinite(values).any():
        axis.step(time_s, values, '--', where='post', color=colour, linewidth=1.3, label=label)


def legend(axis: Any) -> None:
    """List what is drawn beside the row; names that begin with '_' stand in a row above."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(
            loc='upper left', bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False, labelcolor=INK
        )


def _style(axis: Any) -> None:
    axis.grid(axis='y', color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, length=0)
    for side in ('top', 'right', 'left'):
        axis.spines[side].set_visible(False)
    axis.spines['bottom'].set_color(GRID)

"""Draws a replay: latency, level, temperature, battery and reasons over one time axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any

import numpy as np

from anydepth_core.control.figures import causal_average
from anydepth_core.control.plant import ZONE
from anydepth_core.control.replay import cause, OpenRun, OURS, stretches
from anydepth_core.control.scenarios import Trace
from anydepth_core.control.signals import Decision
from anydepth_core.plotting import (
    FAINT,
    INK,
    legend,
    LIMIT,
    limit_line,
    new_rows,
    save,
    SOFT,
    title,
)

COLOURS = {
    OURS: '#3b4cc0',
    'served': FAINT,
    'always full': '#c77d8e',
    'always base': '#7fae8b',
    'published law': '#b39b5e',
}
KINDS = 7
"""So many kinds of reasons are shown, those that held longest."""


@dataclass(frozen=True)
class Timeline:
    """One policy's run as drawn: arrays of (frames,) float64, NaN where unknown.

    Attributes:
        time_s: seconds.
        latency_ms: measured.
        level: what ran, or was chosen in an open loop.
        temperatures_c: by zone.
        battery: state of charge, 0..1.
    """

    time_s: np.ndarray
    latency_ms: np.ndarray
    level: np.ndarray
    temperatures_c: Mapping[str, np.ndarray]
    battery: np.ndarray


@dataclass(frozen=True)
class Limits:
    """What the policies were asked to keep to: arrays of (frames,) float64, NaN for none.

    Attributes:
        budget_ms: latency.
        soft_c: by zone.
        hard_c: by zone.
        reserve: state of charge, 0..1.
    """

    budget_ms: np.ndarray
    soft_c: Mapping[str, np.ndarray]
    hard_c: Mapping[str, np.ndarray]
    reserve: np.ndarray


@dataclass(frozen=True)
class Picture:
    """All that is drawn.

    Attributes:
        title: in words.
        lines: runs by name, `OURS` the last.
        limits: of `OURS`.
        decisions: of `OURS`.
        levels: length of the ladder.
    """

    title: str
    lines: Mapping[str, Timeline]
    limits: Limits
    decisions: Sequence[Decision]
    levels: int


def picture_of_traces(title: str, traces: Mapping[str, Trace]) -> Picture:
    """Take what is drawn from closed loops."""
    ours = traces[OURS]
    lines = {
        name: Timeline(
            trace.column('start_s'),
            trace.column('latency_ms'),
            trace.column('level'),
            {ZONE: trace.column('temperature_c')},
            trace.column('charge'),
        )
        for name, trace in traces.items()
    }
    limits = Limits(
        ours.budget_ms(),
        {ZONE: _array(targets.soft_limit_c(ZONE) for targets in ours.targets)},
        {ZONE: _array(targets.hard_limit_c(ZONE) for targets in ours.targets)},
        _array(targets.battery_reserve for targets in ours.targets),
    )
    levels = len(ours.scenario.device.profile.levels)
    return Picture(title, lines, limits, ours.decisions, levels)


def picture_of_recording(title: str, run: OpenRun) -> Picture:
    """Take what is drawn from an open loop: what was served, and what ours chose."""
    records, targets = run.records, run.targets
    zones = sorted({zone for record in records for zone in record.temperatures_c})
    time_s = _array(record.time_s for record in records)
    temperatures = {
        zone: _array(record.temperatures_c.get(zone) for record in records) for zone in zones
    }
    battery = _array(record.battery for record in records)
    latency_ms = _array(record.latency_ms for record in records)
    unknown = np.full(len(records), math.nan)
    served = _array(record.latency_level for record in records)
    chosen = _array(decision.level for decision in run.decisions)
    limits = Limits(
        _repeated(targets.deadline(), records),
        {zone: _repeated(targets.soft_limit_c(zone), records) for zone in zones},
        {zone: _repeated(targets.hard_limit_c(zone), records) for zone in zones},
        _repeated(targets.battery_reserve, records),
    )
    lines = {
        'served': Timeline(time_s, latency_ms, served, temperatures, battery),
        OURS: Timeline(time_s, unknown, chosen, {}, unknown),
    }
    return Picture(title, lines, limits, run.decisions, len(run.profile.levels))


def draw(picture: Picture, path: str | Path) -> None:
    """Write the picture as PNG, as a whole or not at all.

    Raises:
        ImportError: if matplotlib is missing.
    """
    rows = _rows(picture)
    figure, axes = new_rows(11, [1.25 * height for height, _ in rows])
    for axis, (_, draw_row) in zip(axes, rows):
        draw_row(axis, picture)
    title(axes[0], picture.title)
    axes[-1].set_xlabel('seconds', color=INK)
    time_s = picture.lines[OURS].time_s
    axes[-1].set_xlim(time_s.min(), max(time_s.max(), time_s.min() + 1e-3))
    save(figure, path)


def _rows(picture: Picture) -> list[tuple[float, Callable[[Any, Picture], None]]]:
    """Return height and drawing of each row that has something to show."""
    rows: list[tuple[float, Callable[[Any, Picture], None]]] = [(1.6, _latency), (1.0, _level)]
    if any(line.temperatures_c for line in picture.lines.values()):
        rows.append((1.2, _temperature))
    if any(np.isfinite(line.battery).any() for line in picture.lines.values()):
        rows.append((1.0, _battery))
    return [*rows, (0.1 + 0.25 * len(_longest(picture)), _reasons)]


def _latency(axis: Any, picture: Picture) -> None:
    shown = []
    for name, line in picture.lines.items():
        known = np.isfinite(line.latency_ms)
        if not known.any():
            continue
        time_s, latency = line.time_s[known], line.latency_ms[known]
        dotted = name in (OURS, 'served')
        if dotted:
            axis.scatter(time_s, latency, s=3, color=COLOURS[name], alpha=0.22, linewidths=0)
            shown.append(latency)
        average = causal_average(latency, latency[:1])
        label = f'{name}, moving average' if dotted else name
        _plot(axis, name, time_s, average, label)
    budget = picture.limits.budget_ms
    limit_line(axis, picture.lines[OURS].time_s, budget, LIMIT, 'budget')
    top = max(
        [1.15 * float(np.percentile(values, 99.5)) for values in shown]
        + (1.15 * budget[np.isfinite(budget)]).tolist()
        + [1e-3]
    )
    axis.set_ylim(0, top)
    axis.set_ylabel('latency (ms)', color=INK)
    legend(axis)


def _level(axis: Any, picture: Picture) -> None:
    several = 'served' in picture.lines
    for name in ('served', OURS) if several else (OURS,):
        line = picture.lines[name]
        axis.step(
            line.time_s,
            line.level,
            where='post',
            color=COLOURS[name],
            linewidth=2.2 if name == 'served' else 0.9,
            label='chosen' if several and name == OURS else name,
        )
    axis.set_yticks(range(picture.levels))
    axis.set_ylim(-0.3, picture.levels - 0.7)
    axis.set_ylabel('level', color=INK)
    if several:
        legend(axis)


def _temperature(axis: Any, picture: Picture) -> None:
    for name, line in picture.lines.items():
        for index, (zone, values) in enumerate(line.temperatures_c.items()):
            label = zone if name == 'served' else f'_{name}'
            style = ('-', '--', '-.', ':')[index % 4]
            _plot(axis, name, line.time_s, values, label, style)
    time_s = picture.lines[OURS].time_s
    for zone, soft in picture.limits.soft_c.items():
        limit_line(axis, time_s, soft, SOFT, f'soft limit {zone}')
        limit_line(axis, time_s, picture.limits.hard_c[zone], LIMIT, f'hard limit {zone}')
    axis.set_ylabel('temperature (C)', color=INK)
    legend(axis)


def _battery(axis: Any, picture: Picture) -> None:
    for name, line in picture.lines.items():
        if np.isfinite(line.battery).any():
            _plot(axis, name, line.time_s, 100 * line.battery, f'_{name}')
    limit_line(axis, picture.lines[OURS].time_s, 100 * picture.limits.reserve, LIMIT, 'reserve')
    axis.set_ylabel('charge (%)', color=INK)
    legend(axis)


def _reasons(axis: Any, picture: Picture) -> None:
    """Show when each kind of reason held; the words are those of its first decision."""
    time_s = picture.lines[OURS].time_s
    ends_s = np.append(time_s, time_s[-1])
    least_s = 0.002 * float(np.ptp(time_s))  # or one decision would not be seen
    longest = _longest(picture)
    for row, words in enumerate(longest):
        spans = [
            (float(time_s[a]), max(float(ends_s[b] - time_s[a]), least_s))
            for a, b, name in stretches(picture.decisions)
            if name == words
        ]
        axis.broken_barh(spans, (row + 0.12, 0.3), color=COLOURS[OURS], alpha=0.7, linewidth=0)
        axis.annotate(
            f'{row + 1}  {longest[words]}',
            (0, row - 0.16),
            (2, 0),
            xycoords=('axes fraction', 'data'),
            textcoords='offset points',
            color=INK,
            fontsize=8,
            va='center',
        )
    axis.set_yticks([])
    axis.set_ylim(len(longest) - 0.45, -0.55)
    axis.grid(False)
    axis.set_ylabel('reasons', color=INK)


def _longest(picture: Picture) -> dict[str, str]:
    """Return the kinds of reasons that held longest, each with the words of its first decision."""
    held: dict[str, int] = {}
    words: dict[str, str] = {}
    for start, end, name in stretches(picture.decisions):
        held[name] = held.get(name, 0) + end - start
        words.setdefault(name, cause(picture.decisions[start]))
    return {name: words[name] for name in sorted(held, key=lambda name: -held[name])[:KINDS]}


def _plot(
    axis: Any, name: str, time_s: np.ndarray, values: np.ndarray, label: str, style: str = '-'
) -> None:
    width = 1.6 if name in (OURS, 'served') else 1.1
    axis.plot(time_s, values, style, color=COLOURS[name], linewidth=width, label=label)


def _array(values: Any) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _repeated(value: float | None, records: Sequence[Any]) -> np.ndarray:
    return np.full(len(records), math.nan if value is None else value, np.float64)

"""A benchmark's report as people read it: one line per operating point and per peer."""

from __future__ import annotations

from collections.abc import Sequence

from anydepth_core.evaluation.benchmark import BenchmarkReport, PeerFigures, PointFigures, Spread
from anydepth_core.text_table import aligned

UNKNOWN = '-'
_NOTE = 'The times are for ratios on this machine; another machine or load gives other times.'


def format_report(report: BenchmarkReport) -> str:
    """Return heading, table and what the figures are good for."""
    height, width = report.picture
    machine = report.machine
    return '\n'.join(
        (
            f'{report.model} on {report.runs_on}, {report.runs} interleaved runs, '
            f'{width}x{height} picture',
            *([f'peers on {report.peers_run_on}'] if report.peers_run_on else []),
            f'{machine.accelerator or machine.device}; milliseconds, p50 / p95; p99 and jitter '
            '(p95 - p50) of the inference',
            format_table(report),
            *_memory(report),
            *_power(report),
            format_ratio(report),
            _NOTE,
        )
    )


def format_table(report: BenchmarkReport) -> str:
    """Return one aligned line per operating point and peer, under a heading.

    Columns that nothing is known for are left out. The last is the inference time over that of the
    point with the most multiply-adds.
    """
    rows = [*map(_of_point, report.points), *map(_of_peer, report.peers)]
    titles = [title for title in rows[0] if any(row[title] != UNKNOWN for row in rows)]
    lines = [titles, *([row[title] for title in titles] for row in rows)]
    return aligned(lines)


def format_ratio(report: BenchmarkReport) -> str:
    """Return full to base as measured and as counted."""
    if report.full_over_base_multiply_adds is None:
        return 'full / base: not measured, --depths leaves one of them out.'
    height, width = report.image_size
    return (
        f'full / base at {height}x{width}: '
        f'inference time {_number(report.full_over_base_time, 2)} (median of the rounds), '
        f'multiply-adds {report.full_over_base_multiply_adds:.2f}'
    )


def _of_point(point: PointFigures) -> dict[str, str]:
    return {
        'level': UNKNOWN if point.level is None else str(point.level),
        'depth': point.depth,
        'size': f'{point.image_size[0]}x{point.image_size[1]}',
        'preprocess': _times(point.preprocess),
        'inference': _times(point.inference),
        'p99': _number(point.inference.p99_ms, 2),
        'jitter': _number(point.inference.jitter_ms, 2),
        'postprocess': _times(point.postprocess),
        'total': _times(point.total),
        'MB': _added(point.resident_added_mb),
        'GPU MB': _added(point.device_added_mb),
        'J/frame': _number(point.energy_j, 3),
        'above idle': _number(point.energy_above_idle_j, 3),
        'AP': _number(point.ap, 3),
        'multiply-adds': f'{point.multiply_adds / 1e6:.1f} M',
        'time/dearest': _number(point.time_over_dearest, 2),
    }


def _of_peer(peer: PeerFigures) -> dict[str, str]:
    shape = next(shape for shape in peer.inputs.values() if len(shape) == 4)
    sides = shape[2:] if shape[1] == 3 else shape[1:3]
    known = {
        'depth': peer.name,
        'size': f'{sides[0]}x{sides[1]}',
        'inference': _times(peer.inference),
        'p99': _number(peer.inference.p99_ms, 2),
        'jitter': _number(peer.inference.jitter_ms, 2),
        'MB': _added(peer.resident_added_mb),
        'AP': _number(peer.ap, 3),
        'time/dearest': _number(peer.time_over_dearest, 2),
    }
    return {title: known.get(title, UNKNOWN) for title in _TITLES}


_TITLES = (
    'level', 'depth', 'size', 'preprocess', 'inference', 'p99', 'jitter', 'postprocess', 'total',
    'MB', 'GPU MB', 'J/frame', 'above idle', 'AP', 'multiply-adds', 'time/dearest',
)  # fmt: skip


def _memory(report: BenchmarkReport) -> Sequence[str]:
    memory, points = report.memory, len(report.points)
    lines = []
    if memory.resident_before_mb is not None and memory.resident_ready_mb is not None:
        lines.append(
            f'resident memory: {memory.resident_before_mb:.0f} MB with none ready, '
            f'{memory.resident_ready_mb:.0f} MB with all {points}'
        )
    if memory.device_before_mb is not None and memory.device_ready_mb is not None:
        lines.append(
            f'memory in use on the GPU: {memory.device_before_mb:.0f} MB with none ready, '
            f'{memory.device_ready_mb:.0f} MB with all {points}'
        )
    return lines


def _power(report: BenchmarkReport) -> Sequence[str]:
    if report.idle_power_w is None:
        return []
    return [f'power at rest: {report.idle_power_w:.2f} W']


def _times(spread: Spread) -> str:
    return f'{spread.p50_ms:.2f} / {spread.p95_ms:.2f}'


def _added(value: float | None) -> str:
    return UNKNOWN if value is None else f'{value:+.1f}'


def _number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f'{value:.{digits}f}'

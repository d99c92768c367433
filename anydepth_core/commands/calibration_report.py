"""What ``anydepth calibrate`` prints and writes about a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from anydepth_core.text_table import aligned

if TYPE_CHECKING:
    from anydepth_core.evaluation.calibrate import Calibration
    from anydepth_core.evaluation.ladder_picture import Dot, Picture
    from anydepth_core.evaluation.ladder_search import Measured


def report(calibration: Calibration) -> str:
    """Return every table: norms, ladder, ranges, AP and recall by object size and per class."""
    from anydepth_core.evaluation.size_and_class import format_by_class, format_by_size

    figures = calibration.bench.of(calibration.ladder)
    names = [_name(calibration, entry) for entry in calibration.ladder]
    return '\n\n'.join(
        (
            f'norms, AP at a few operating points; chosen: {calibration.norms}\n'
            + _norms(calibration),
            f'ladder, from {len(calibration.bench.measured)} operating points on '
            f'{len(calibration.bench.dataset)} images\n' + _ladder(calibration),
            _ranges(calibration),
            'by object size\n' + format_by_size(names, figures),
            'AP / recall per class\n' + format_by_class(names, figures),
        )
    )


def to_csv(calibration: Calibration) -> str:
    """Return every measured point, cheapest first, as a table with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(
        ('depth', 'height', 'width', 'multiply_adds', 'AP', 'inference_ms', 'level', 'norms')
    )
    levels = {id(entry): level for level, entry in enumerate(calibration.ladder)}
    rows = [(entry, calibration.norms) for entry in calibration.bench.measured]
    if calibration.norms != 'trained':
        rows += [(entry, 'trained') for entry in calibration.trained]
    for entry, norms in sorted(rows, key=lambda row: row[0].cost):
        writer.writerow(
            (
                calibration.space.format(entry.point.depth),
                *entry.point.image_size,
                int(entry.cost),
                f'{entry.ap:.4f}',
                _cell(_milliseconds(calibration, entry), '.2f', ''),
                levels.get(id(entry), ''),
                norms,
            )
        )
    return text.getvalue()


def read_peers(path: Path) -> dict[str, list[Dot]]:
    """Read other detectors: a CSV with ``name``, ``AP``, ``multiply_adds``, ``inference_ms``.

    One of the last two may be missing or empty. Times are worth comparing only if they were
    measured on the same machine.

    Raises:
        ValueError: naming the row that cannot be read.
    """
    from anydepth_core.evaluation.ladder_picture import Dot

    peers: dict[str, list[Dot]] = {}
    with path.open(newline='', encoding='utf-8') as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            try:
                cost, time = row.get('multiply_adds'), row.get('inference_ms')
                giga = float(cost) / 1e9 if cost else None
                dot = Dot(float(row['AP']), giga, float(time) if time else None)
                peers.setdefault(row['name'], []).append(dot)
            except (KeyError, TypeError, ValueError):
                raise ValueError(
                    f'{path}: row {number} {row} needs name, AP, and multiply_adds or inference_ms'
                ) from None
    return peers


def picture_of(calibration: Calibration, peers: Mapping[str, Sequence[Dot]]) -> Picture:
    """Return what ``ladder.png`` shows."""
    from anydepth_core.evaluation.ladder_picture import Picture

    changed = calibration.norms != 'trained'
    return Picture(
        points=[_dot(calibration, entry) for entry in calibration.bench.measured],
        ladder=[_dot(calibration, entry) for entry in calibration.ladder],
        uncalibrated=[_dot(calibration, e) for e in calibration.trained] if changed else [],
        peers=peers,
    )


def _norms(calibration: Calibration) -> str:
    first = next(iter(calibration.probes.values()))
    lines = [('norms', *(_name(calibration, entry) for entry in first), 'mean')]
    for name, points in calibration.probes.items():
        mean = sum(point.ap for point in points) / len(points)
        lines.append((name, *(_cell(point.ap) for point in points), _cell(mean)))
    return aligned(lines)


def _ladder(calibration: Calibration) -> str:
    lines = [('level', 'point', 'AP', 'norms as trained', 'multiply-adds', 'of dearest', 'ms')]
    dearest = calibration.ladder[-1].cost
    for level, (entry, before) in enumerate(zip(calibration.ladder, calibration.trained)):
        lines.append(
            (
                str(level),
                _name(calibration, entry),
                _cell(entry.ap),
                _cell(before.ap),
                f'{entry.cost / 1e6:.0f} M',
                f'{entry.cost / dearest:.2f}',
                _cell(_milliseconds(calibration, entry), '.2f'),
            )
        )
    return aligned(lines)


def _ranges(calibration: Calibration) -> str:
    """Dearest over cheapest: by depth alone at the largest size, and along the ladder."""
    space, points = calibration.space, calibration.bench.measured
    largest = max((entry.point.image_size for entry in points), key=math.prod)
    ends = {entry.point.depth: entry.cost for entry in points if entry.point.image_size == largest}
    ladder = calibration.ladder
    return (
        f'multiply-adds, dearest over cheapest: depth alone (full over base at '
        f'{largest[0]}x{largest[1]}) {ends[space.full] / ends[space.base]:.2f}, depth and input '
        f'size (the ladder) {ladder[-1].cost / ladder[0].cost:.2f}'
    )


def _name(calibration: Calibration, entry: Measured) -> str:
    from anydepth_core.evaluation.calibrate import format_size

    point = entry.point
    return f'{calibration.space.format(point.depth)}@{format_size(point.image_size)}'


def _milliseconds(calibration: Calibration, entry: Measured) -> float:
    timed = calibration.latency.get((entry.point.depth, entry.point.image_size))
    return math.nan if timed is None else timed.percentile('inference_ms', 50)


def _dot(calibration: Calibration, entry: Measured) -> Dot:
    from anydepth_core.evaluation.ladder_picture import Dot

    milliseconds = _milliseconds(calibration, entry)
    return Dot(
        entry.ap,
        entry.cost / 1e9,
        None if math.isnan(milliseconds) else milliseconds,
        _name(calibration, entry),
    )


def _cell(value: float, form: str = '.3f', unknown: str = '-') -> str:
    return unknown if math.isnan(value) else format(value, form)

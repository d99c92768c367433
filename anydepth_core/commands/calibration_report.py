"""What ``anydepth calibrate`` prints and writes about a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
from dataclasses import replace
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from anydepth_core.text_table import aligned

if TYPE_CHECKING:
    from anydepth_core.evaluation.calibrate import Calibration, Key
    from anydepth_core.evaluation.ladder_picture import Dot, Picture
    from anydepth_core.evaluation.ladder_search import Measured


def report(calibration: Calibration) -> str:
    """Return every table: ladder, ranges, AP and recall by object size and per class."""
    from anydepth_core.evaluation.size_and_class import format_by_class, format_by_size

    figures = calibration.bench.of(calibration.ladder)
    names = [_name(calibration, entry) for entry in calibration.ladder]
    return '\n\n'.join(
        (
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
        (
            *('depth', 'height', 'width', 'multiply_adds', 'AP', 'norms'),
            *('AP_trained_norms', 'AP_own_norms', 'inference_ms', 'level'),
        )
    )
    levels = {id(entry): level for level, entry in enumerate(calibration.ladder)}
    for entry in sorted(calibration.bench.measured, key=lambda entry: entry.cost):
        writer.writerow(
            (
                calibration.space.format(entry.point.depth),
                *entry.point.image_size,
                int(entry.cost),
                f'{entry.ap:.4f}',
                _norms(calibration, entry),
                f'{calibration.bench.trained[_key(entry)]:.4f}',
                _cell(calibration.bench.own.get(_key(entry), math.nan), '.4f', ''),
                _cell(_milliseconds(calibration, entry), '.2f', ''),
                levels.get(id(entry), ''),
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

    bench = calibration.bench
    before = [
        replace(_dot(calibration, entry), ap=bench.trained[_key(entry)])
        for entry in calibration.ladder
        if _key(entry) in bench.norms
    ]
    return Picture(
        points=[_dot(calibration, entry) for entry in calibration.bench.measured],
        ladder=[_dot(calibration, entry) for entry in calibration.ladder],
        uncalibrated=before,
        peers=peers,
    )


def _key(entry: Measured) -> Key:
    return entry.point.depth, entry.point.image_size


def _norms(calibration: Calibration, entry: Measured) -> str:
    return 'own' if _key(entry) in calibration.bench.norms else 'trained'


def _ladder(calibration: Calibration) -> str:
    heading = ('level', 'point', 'AP', 'norms', 'AP, trained norms', 'AP, own norms')
    lines = [(*heading, 'multiply-adds', 'of dearest', 'ms')]
    dearest = calibration.ladder[-1].cost
    for level, entry in enumerate(calibration.ladder):
        lines.append(
            (
                str(level),
                _name(calibration, entry),
                _cell(entry.ap),
                _norms(calibration, entry),
                _cell(calibration.bench.trained[_key(entry)]),
                _cell(calibration.bench.own.get(_key(entry), math.nan)),
                f'{entry.cost / 1e6:.0f} M',
                f'{entry.cost / dearest:.2f}',
                _cell(_milliseconds(calibration, entry), '.2f'),
            )
        )
    return aligned(lines)


def _ranges(calibration: Calibration) -> str:
    """Dearest over cheapest: by depth alone at the largest size, and along the ladder."""
    space, ladder = calibration.space, calibration.ladder
    costs = {_key(entry): entry.cost for entry in calibration.bench.measured}
    sizes = [size for depth, size in costs if depth == space.full and (space.base, size) in costs]
    size = max(sizes, key=math.prod)
    return (
        f'multiply-adds, dearest over cheapest: depth alone (full over base at '
        f'{size[0]}x{size[1]}) {costs[space.full, size] / costs[space.base, size]:.2f}, '
        f'depth and input size (the ladder) {ladder[-1].cost / ladder[0].cost:.2f}'
    )


def _name(calibration: Calibration, entry: Measured) -> str:
    from anydepth_core.evaluation.calibrate import format_size

    point = entry.point
    return f'{calibration.space.format(point.depth)}@{format_size(point.image_size)}'


def _milliseconds(calibration: Calibration, entry: Measured) -> float:
    timed = calibration.latency.get(_key(entry))
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

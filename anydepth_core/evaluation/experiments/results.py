"""Figures of the runs: rows of CSV files, and how they are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import csv
from dataclasses import asdict, dataclass, fields
import io
from pathlib import Path
from statistics import fmean
from typing import Any

from anydepth_core.files import write_atomically

AVERAGED, LAST = 'averaged', 'last'
"""Which weights: the moving average, or those that the optimiser reached."""

TRAINED = 'trained'
"""Norm statistics as the training left them."""

OWN, OWN_AUGMENTED = 'own', 'own, augmented'
"""Norm statistics of the measured depth itself, estimated on plain or on augmented images."""

_TYPES: dict[str, Callable[[str], Any]] = {
    'seed': int,
    'multiply_adds': int,
    'ap': float,
    'ap50': float,
}


@dataclass(frozen=True)
class Point:
    """AP of one run at one depth.

    Attributes:
        study: data set.
        variant: variant of the recipe.
        seed: seed of the run.
        split: images that were measured.
        weights: ``averaged`` or ``last``.
        norms: how the statistics of the norms were estimated.
        label: what the depth is called, equal for all runs.
        depth: the depth in bits.
        multiply_adds: of one image.
        ap: average precision, 0 to 1.
        ap50: the same at an IoU of 0.5.
    """

    study: str
    variant: str
    seed: int
    split: str
    weights: str
    norms: str
    label: str
    depth: str
    multiply_adds: int
    ap: float
    ap50: float


def write_points(path: Path, points: Iterable[Point]) -> None:
    """Write rows as CSV, as a whole or not at all."""
    text = io.StringIO()
    names = [field.name for field in fields(Point)]
    writer = csv.DictWriter(text, names, lineterminator='\n')
    writer.writeheader()
    for point in points:
        writer.writerow({**asdict(point), 'ap': f'{point.ap:.4f}', 'ap50': f'{point.ap50:.4f}'})
    write_atomically(path, text.getvalue().encode())


def read_points(path: Path) -> list[Point]:
    """Read what :func:`write_points` wrote.

    Raises:
        ValueError: if the file holds something else.
    """
    try:
        with path.open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        return [
            Point(**{key: _TYPES.get(key, str)(value) for key, value in row.items()})
            for row in rows
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(f'{path} holds no figures of runs ({error}): remove it') from None


Keep = Callable[[Point], bool]


def by_seed(points: Iterable[Point], keep: Keep) -> dict[int, float]:
    """Return AP by seed of the points to keep; each seed has one."""
    return {point.seed: point.ap for point in points if keep(point)}


def paired(first: dict[int, float], second: dict[int, float]) -> list[float]:
    """Return the differences, first minus second, of the seeds that both have."""
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


def spread(values: Sequence[float], signed: bool = False) -> str:
    """Return the mean, and the range where there are several values; a dash for none."""
    if not values:
        return '-'
    sign = '+' if signed else ''
    mean = f'{fmean(values):{sign}.3f}'
    if len(values) == 1:
        return mean
    return f'{mean} ({min(values):{sign}.3f} .. {max(values):{sign}.3f})'


def in_order(names: Iterable[str], order: Sequence[str] = ()) -> list[str]:
    """Return names once each: those of ``order`` first, then the others as they come."""
    found = list(dict.fromkeys(names))
    return [name for name in order if name in found] + [n for n in found if n not in order]

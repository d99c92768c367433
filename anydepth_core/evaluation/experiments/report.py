"""Tables and a picture of all that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
import json
from pathlib import Path
from typing import Any

from anydepth_core.config import load_yaml
from anydepth_core.evaluation.experiments.claims import claims_table
from anydepth_core.evaluation.experiments.matrix import STUDIES, VARIANTS
from anydepth_core.evaluation.experiments.results import (
    AVERAGED,
    by_seed,
    in_order,
    LAST,
    OWN_AUGMENTED,
    paired,
    Point,
    read_points,
    spread,
    TRAINED,
    write_points,
)
from anydepth_core.files import write_atomically

ENDS = ('full', 'base')


@dataclass(frozen=True)
class Results:
    """All points of one folder of runs, at the split that is reported.

    Attributes:
        study: name of the data set.
        points: figures of the runs.
        norms: figures with re-estimated norms.
    """

    study: str
    points: Sequence[Point]
    norms: Sequence[Point]

    @property
    def split(self) -> str:
        """The split that is reported."""
        return STUDIES[self.study].reported

    @property
    def variants(self) -> list[str]:
        """Variants that were run, in the order of ``VARIANTS``."""
        return in_order((point.variant for point in self.points), list(VARIANTS))

    @property
    def labels(self) -> list[str]:
        """Depths, dearest first: by the mean of their multiply-adds."""
        return by_cost(self.points)

    def ap(self, variant: str, label: str, weights: str = AVERAGED) -> dict[int, float]:
        """AP by seed."""
        return by_seed(
            self.points,
            lambda p: (p.variant, p.label, p.weights) == (variant, label, weights),
        )

    def ap_calibrated(self, variant: str, label: str) -> dict[int, float]:
        """AP by seed with norms as ``anydepth calibrate`` estimates them."""
        return self.ap_with(variant, label, OWN_AUGMENTED)

    def ap_with(self, variant: str, label: str, norms: str) -> dict[int, float]:
        """AP by seed with norms that were estimated in some way."""
        return by_seed(
            self.norms, lambda p: (p.variant, p.label, p.norms) == (variant, label, norms)
        )


def read_results(output: Path) -> Results:
    """Read all points in a folder of runs.

    Raises:
        ValueError: if there are none, or they are of several data sets.
    """
    points = [p for path in sorted(output.glob('*.points.csv')) for p in read_points(path)]
    norms = [p for path in sorted(output.glob('*.norms.csv')) for p in read_points(path)]
    studies = in_order(point.study for point in (*points, *norms))
    if not points or len(studies) != 1:
        raise ValueError(
            f'{output} holds figures of {len(studies)} data sets: give the folder of one, filled '
            'by `experiments.py run`'
        )
    shown = STUDIES[studies[0]].reported
    return Results(
        studies[0],
        [point for point in points if point.split == shown],
        [point for point in norms if point.split == shown],
    )


def write_report(output: Path, step_time: Path | None = None) -> list[Path]:
    """Write ``report.md``, ``points.csv`` (and ``norms.csv``) and, with matplotlib, ``ap.png``.

    Returns:
        What was written.

    Raises:
        ValueError: if nothing is measured yet.
    """
    results = read_results(output)
    written = [output / 'report.md', output / 'points.csv']
    write_atomically(written[0], report(results, output, step_time).encode())
    write_points(written[1], results.points)
    if results.norms:
        written.append(output / 'norms.csv')
        write_points(written[-1], results.norms)
    if find_spec('matplotlib') is not None:
        from anydepth_core.evaluation.experiments.picture import draw

        written.append(output / 'ap.png')
        draw(results, written[-1])
    return written


def report(results: Results, output: Path, step_time: Path | None = None) -> str:
    """Return all tables as Markdown."""
    parts = [
        ('Runs', runs_table(results, output)),
        (f'AP on {results.split}, averaged weights', ap_table(results)),
        ('Differences of AP, paired by seed', differences_table(results)),
        ('Claims of the paper', claims_table(results.ap)),
        ('Last weights less averaged weights', last_table(results)),
        ('Overhead', overhead_table(output, step_time)),
    ]
    if results.norms:
        parts.append(('Re-estimated norms, AP less that with trained norms', norms_table(results)))
        title = f'Claims of the paper, all norms re-estimated ("{OWN_AUGMENTED}")'
        parts.append((title, claims_table(results.ap_calibrated)))
    head = (
        f'# {results.study}\n\nMean over the seeds, in brackets the least and the largest value.\n'
    )
    return head + ''.join(f'\n## {title}\n\n{table}\n' for title, table in parts)


def runs_table(results: Results, output: Path) -> str:
    """Variants, their seeds and their epochs."""
    rows = []
    for variant in results.variants:
        seeds = sorted({p.seed for p in results.points if p.variant == variant})
        recipe = load_recipe_facts(output, variant, seeds[0])
        rows.append(
            [f'`{variant}`', VARIANTS[variant].meaning, ', '.join(map(str, seeds)), recipe]
        )
    return markdown(['variant', 'what it is', 'seeds', 'epochs'], rows)


def load_recipe_facts(output: Path, variant: str, seed: int) -> str:
    """Return the epochs of a run, a dash where its recipe is gone."""
    path = output / f'{variant}-{seed}.yaml'
    return str(load_yaml(path)['epochs']) if path.is_file() else '-'


def ap_table(results: Results) -> str:
    """AP of every variant at every depth."""
    labels = results.labels
    rows = [
        [f'`{variant}`', *(spread(list(results.ap(variant, one).values())) for one in labels)]
        for variant in results.variants
    ]
    return markdown(['variant', *labels], rows)


def differences_table(results: Results) -> str:
    """Say what each variant has more than the method at the same depth."""
    labels = results.labels
    rows = []
    for variant in results.variants:
        if variant == 'any_depth':
            continue
        cells = [
            spread(paired(results.ap(variant, one), results.ap('any_depth', one)), signed=True)
            for one in labels
        ]
        rows.append([f'`{variant}` less `any_depth`', *cells])
    return markdown(['', *labels], rows)


def last_table(results: Results) -> str:
    """Say what the last weights have more than the averaged ones."""
    rows = [
        [
            f'`{variant}`',
            *(
                spread(paired(results.ap(variant, one, LAST), results.ap(variant, one)), True)
                for one in ENDS
            ),
        ]
        for variant in results.variants
    ]
    return markdown(['variant', *ENDS], rows)


def norms_table(results: Results) -> str:
    """Say what every estimate of the norms gains at every depth, by variant."""
    labels = by_cost(results.norms)
    rows = []
    for variant in in_order((p.variant for p in results.norms), list(VARIANTS)):
        for norms in in_order(p.norms for p in results.norms if p.norms != TRAINED):
            gains = [
                paired(
                    results.ap_with(variant, one, norms), results.ap_with(variant, one, TRAINED)
                )
                for one in labels
            ]
            if any(gains):
                cells = [spread(gain, signed=True) for gain in gains]
                rows.append([f'`{variant}`', norms, *cells])
    return markdown(['variant', 'norms', *labels], rows)


def overhead_table(output: Path, step_time: Path | None) -> str:
    """Parameters that only base depth needs, and the time of a step."""
    from anydepth_core.models.build import build_detector

    model = load_yaml(sorted(output.glob('*.yaml'))[0])['model']
    detector = build_detector(model['name'], model.get('variant'))
    sizes = {name: weight.numel() for name, weight in detector.named_parameters()}
    total = sum(sizes.values())
    rows = []
    for title, word in (('second norms', 'norm'), ('second convolutions', 'conv_base')):
        own = sum(
            size
            for name, size in sizes.items()
            if any(part.startswith(word) and part.endswith('_base') for part in name.split('.'))
        )
        rows.append([title, f'{own:,} of {total:,} parameters', f'{own / (total - own):.2%}'])
    if step_time is not None:
        found = json.loads(step_time.read_text(encoding='utf-8'))
        rows += [_step_row(entry) for entry in (found if isinstance(found, list) else [found])]
    return markdown(['overhead', 'of', 'share'], rows)


def _step_row(found: dict[str, Any]) -> list[str]:
    try:
        name, ratio = f'{found["model"]}@{found["size"]}', float(found['ratio'])
    except (KeyError, TypeError, ValueError):
        raise ValueError('--step-time is no file of tools/step_time.py: give its --json') from None
    return ['time of a step', f'full step + base step of plain training ({name})', f'{ratio:.3f}']


def by_cost(points: Sequence[Point]) -> list[str]:
    """Return the names of depths, dearest first, by the mean of their multiply-adds."""
    costs: dict[str, list[int]] = {}
    for point in points:
        costs.setdefault(point.label, []).append(point.multiply_adds)
    return sorted(costs, key=lambda label: -sum(costs[label]) / len(costs[label]))


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heading, ['---'] * len(heading), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)

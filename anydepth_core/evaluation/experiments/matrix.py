"""What is trained for the experiments: data sets, variants of a recipe, one run per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from anydepth_core.config import load_yaml
from anydepth_core.files import write_atomically


@dataclass(frozen=True)
class Study:
    """A data set with the recipe that all variants start from.

    Attributes:
        recipe: file in ``config/recipes/experiments``, without suffix.
        splits: annotations and image folder, by name of the split; the first one chooses depths,
            the last one is what reports show.
    """

    recipe: str
    splits: Mapping[str, tuple[str, str]]

    @property
    def chosen_by(self) -> str:
        """Split that depths are chosen by."""
        return next(iter(self.splits))

    @property
    def reported(self) -> str:
        """Split whose figures are shown."""
        return list(self.splits)[-1]


STUDIES = {
    'bccd': Study('bccd', {'val': ('val.json', 'images'), 'test': ('test.json', 'images')}),
    'fod_a': Study('fod_a', {'val': ('val.json', 'val')}),
}


@dataclass(frozen=True)
class Variant:
    """A change of the recipe.

    Attributes:
        meaning: what it is, for tables.
        changes: settings by dotted name.
        depths: ``full`` or ``base`` where only that depth is trained; None where both are.
    """

    meaning: str
    changes: Mapping[str, Any]
    depths: tuple[str, ...] | None = None


VARIANTS = {
    'any_depth': Variant('the method', {}),
    'full_only': Variant(
        'baseline: full depth alone, ground truth only', {'ablation.passes': 'full'}, ('full',)
    ),
    'base_only': Variant(
        'baseline: base depth alone, ground truth only', {'ablation.passes': 'base'}, ('base',)
    ),
    'plain_base': Variant(
        'no distillation: base learns from ground truth', {'loss.alpha_base': 1.0}
    ),
    'no_features': Variant('no feature distillation', {'loss.distillation.feat': 0.0}),
    'shared_norms': Variant('one set of norms for both depths', {'ablation.shared_norms': True}),
    'sampled': Variant('30 % of the base passes at a drawn depth', {'sample_depths': 0.3}),
}


@dataclass(frozen=True)
class Run:
    """One training run and its files.

    Attributes:
        variant: a key of ``VARIANTS``.
        seed: seed of the run.
        output: folder of all runs.
    """

    variant: str
    seed: int
    output: Path

    @property
    def name(self) -> str:
        """Variant and seed."""
        return f'{self.variant}-{self.seed}'

    @property
    def folder(self) -> Path:
        """Where the trainer writes."""
        return self.output / self.name

    def file(self, suffix: str) -> Path:
        """File of this run beside its folder."""
        return self.output / f'{self.name}.{suffix}'


def runs_of(output: Path, seeds: Sequence[int], only: Sequence[str] = ()) -> list[Run]:
    """Return all runs, seed by seed, so that what is done first can be compared first.

    Raises:
        ValueError: if a variant is unknown.
    """
    if unknown := [name for name in only if name not in VARIANTS]:
        raise ValueError(f'no variant {unknown[0]!r}: give some of {", ".join(VARIANTS)}')
    return [Run(name, seed, output) for seed in seeds for name in only or VARIANTS]


def recipe_of(
    base: Mapping[str, Any],
    run: Run,
    epochs: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the recipe of a run: the base with the changes of its variant, and its seed.

    Args:
        base: recipe that the changes apply to.
        run: the run.
        epochs: epochs instead of those of the recipe; the plain ones at the end change in the same
            ratio.
        changes: what all runs have other than the recipe, settings by dotted name.
    """
    recipe = copy.deepcopy(dict(base))
    for name, value in {**VARIANTS[run.variant].changes, **(changes or {})}.items():
        place = recipe
        *parents, last = name.split('.')
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    recipe['seed'] = run.seed
    if epochs is not None:
        recipe['plain_epochs'] = round(recipe.get('plain_epochs', 0) * epochs / recipe['epochs'])
        recipe['epochs'] = epochs
    return recipe


def write_recipe(
    base: Path, run: Run, epochs: int | None = None, changes: Mapping[str, Any] | None = None
) -> int:
    """Write the recipe of a run beside its folder, and return its epochs; see ``recipe_of``.

    Raises:
        ValueError: if the recipe is not legal, or the run was started with another one.
    """
    recipe = recipe_of(load_yaml(base), run, epochs, changes)
    path = run.file('yaml')
    text = yaml.safe_dump(recipe, sort_keys=False)
    if path.is_file() and path.read_text(encoding='utf-8') != text:
        raise ValueError(
            f'{path} is another recipe than {base} gives now: its runs cannot be compared with '
            'new ones, choose another --output'
        )
    write_atomically(path, text.encode())
    return int(recipe['epochs'])

"""Reading recipes: the ``loss`` section has the settings of the model's family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from anydepth_core.config import from_mapping, load_yaml
from anydepth_core.models.build import BUILDERS
from anydepth_core.train.families import family_of
from anydepth_core.train.settings import TrainSettings


def load_recipe(path: str | Path) -> TrainSettings:
    """Read a recipe.

    Raises:
        ValueError: if the file is no YAML mapping, the model is unknown, or a key is unknown,
            missing or of the wrong type; the message names the file and the field.
    """
    mapping = load_yaml(path)
    try:
        return _parse(mapping)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def _parse(mapping: dict[str, Any]) -> TrainSettings:
    loss = mapping.get('loss') or {}
    settings = from_mapping({**mapping, 'loss': None}, TrainSettings)
    name = settings.model.name
    if name not in BUILDERS:
        raise ValueError(f'model.name is {name!r}; known: {", ".join(BUILDERS)}')
    if not isinstance(loss, dict):
        raise ValueError(f'loss must be a mapping of settings, not {type(loss).__name__}')
    try:
        return replace(settings, loss=from_mapping(loss, family_of(name).loss))
    except ValueError as error:
        raise ValueError(f'loss: {error}') from None

"""Settings: frozen dataclasses to and from YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar('T')


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ValueError: if the file is missing, no YAML, or holds something else; the message names it.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f'cannot read the YAML file {path}: {error}') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold a mapping of settings, not {type(content).__name__}')
    return content


def from_mapping(mapping: Mapping[str, Any], settings: type[T]) -> T:
    """Build a settings dataclass from plain values.

    Raises:
        ValueError: if a key is unknown, missing or of the wrong type; the message names the field.
    """
    try:
        import dacite
    except ImportError:
        raise ImportError(
            'reading settings needs dacite: pip install "anydepth-ros[train]"'
        ) from None
    hooks: dict[type, Callable[[Any], Any]] = {
        float: float
    }  # YAML reads 1e-3 as text and 1 as int
    config = dacite.Config(strict=True, cast=[tuple], type_hooks=hooks)
    try:
        return dacite.from_dict(settings, dict(mapping), config)
    except dacite.UnexpectedDataError as error:
        fields = dataclasses.fields(settings)  # type: ignore[arg-type]
        known = ', '.join(field.name for field in fields)
        raise ValueError(
            f'unknown setting {", ".join(sorted(error.keys))}; top-level settings: {known}'
        ) from None
    except dacite.DaciteError as error:
        raise ValueError(str(error)) from None


def to_mapping(settings: Any) -> dict[str, Any]:
    """Turn a settings dataclass into plain values for YAML or JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(settings))

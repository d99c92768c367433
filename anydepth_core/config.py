"""Settings: frozen dataclasses to and from YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, TypeVar, Union

import yaml

from anydepth_core.errors import sentence

T = TypeVar('T')

_WORDS: dict[Any, str] = {
    float: 'a number',
    int: 'a whole number',
    str: 'text',
    bool: 'true or false',
    tuple: 'a list like the default',
    Mapping: 'a mapping',
    type(None): 'null',
}


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ValueError: if the file is missing, no YAML, or holds something else; the message names it.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f'cannot read the YAML file {path}: {sentence(error)}') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold a mapping of settings, not {type(content).__name__}')
    return content


def from_mapping(mapping: Mapping[str, Any], settings: type[T]) -> T:
    """Build a settings dataclass from plain values.

    Raises:
        ValueError: if a key is unknown, missing or of the wrong type; the message names the field.
        ImportError: if dacite is missing.
    """
    try:
        import dacite
    except ImportError:
        raise ImportError('reading settings needs dacite: pip install dacite') from None

    def number(value: Any) -> float:
        """Read 1 as well as 1e-3, which YAML takes for text."""
        try:
            if isinstance(value, bool):
                raise TypeError
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise dacite.WrongTypeError(float, value) from None

    hooks: dict[type, Callable[[Any], Any]] = {float: number}
    if not isinstance(mapping, Mapping):
        raise ValueError(f'settings must be a mapping, not {_shown(mapping)}')
    if strange := [key for key in mapping if not isinstance(key, str)]:
        raise ValueError(f'the name of a setting must be text, not {_shown(strange[0])}')
    plain = {key: _with_tuples(value) for key, value in mapping.items()}
    try:
        return dacite.from_dict(settings, plain, dacite.Config(strict=True, type_hooks=hooks))
    except dacite.UnexpectedDataError as error:
        fields = dataclasses.fields(settings)  # type: ignore[arg-type]
        known = ', '.join(field.name for field in fields)
        names = ', '.join(sorted(map(str, error.keys)))
        raise ValueError(f'unknown setting {names}; top-level settings: {known}') from None
    except (dacite.WrongTypeError, dacite.UnionMatchError) as error:
        raise ValueError(
            f'{error.field_path} must be {_type_name(error.field_type)}, not '
            f'{_shown(_at(mapping, error.field_path or ""))}'
        ) from None
    except dacite.DaciteError as error:
        raise ValueError(str(error)) from None


def _with_tuples(value: Any) -> Any:
    """Turn lists into tuples: settings are frozen, YAML and JSON have no tuples."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, (list, tuple)) else value


def _type_name(wanted: Any) -> str:
    """Say in words what a field takes."""
    choices = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    return ' or '.join(
        'a mapping of settings'
        if dataclasses.is_dataclass(one)
        else _WORDS.get(get_origin(one) or one, str(one))
        for one in choices
    )


def _at(mapping: Any, path: str) -> Any:
    """Return the value at a path such as ``optimizer.decay``, or the innermost that is there."""
    for name in path.split('.'):
        if not isinstance(mapping, Mapping) or name not in mapping:
            break
        mapping = mapping[name]
    return mapping


def _shown(value: Any) -> str:
    text = 'null' if value is None else repr(value)
    return text if len(text) <= 40 else f'{text[:37]}...'


def to_mapping(settings: Any) -> dict[str, Any]:
    """Turn a settings dataclass into plain values for YAML or JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(settings))

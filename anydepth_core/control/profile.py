"""The profile: what every level of a ladder costs and gives on one device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
import math
from pathlib import Path
from typing import Any

import yaml

from anydepth_core.config import load_yaml
from anydepth_core.files import write_atomically


@dataclass(frozen=True)
class LevelProfile:
    """One level as measured."""

    depth: str
    """The depth it runs, as text: 'base', '1111-1d4', 'full'."""
    latency_ms: float
    """Median end-to-end time of a frame, in milliseconds."""
    latency_p95_ms: float
    """95th percentile of that time, in milliseconds."""
    energy_j: float | None = None
    """Energy of one frame above idle, in joules; None if it was not measured."""
    ap: float | None = None
    """Average precision, 0..1; None if it was not measured."""

    def __post_init__(self) -> None:
        for name in ('latency_ms', 'latency_p95_ms'):
            _check_positive(name, getattr(self, name))
        if self.latency_p95_ms < self.latency_ms:
            raise ValueError(
                f'latency_p95_ms {self.latency_p95_ms} is below latency_ms {self.latency_ms}'
            )
        if self.energy_j is not None:
            _check_positive('energy_j', self.energy_j)
        if self.ap is not None and not 0 <= self.ap <= 1:
            raise ValueError(f'ap must be between 0 and 1, not {self.ap}')


@dataclass(frozen=True)
class Profile:
    """A ladder's levels, level 0 first.

    Costs should rise with the level. Where they do not (noise of a measurement, a level that is
    slow on this device) the law goes on: it takes the highest level that fits, and a level below
    it may cost more; level 0 stays the refuge that safety falls back to.
    """

    levels: tuple[LevelProfile, ...]
    device: str = ''
    """The device it was measured on, in words."""

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError('a profile needs at least one level')


def load_profile(path: str | Path) -> Profile:
    """Read a profile from a YAML or JSON file.

    Raises:
        ValueError: if the file is missing or no profile; the message names file and field.
    """
    content = load_yaml(path)  # JSON is YAML
    try:
        _check_keys(content, {'levels', 'device'})
        levels = content.get('levels')
        if not isinstance(levels, list):
            raise ValueError('levels must be a list')
        return Profile(
            tuple(_level(index, item) for index, item in enumerate(levels)),
            str(content.get('device') or ''),
        )
    except ValueError as error:
        raise ValueError(f'{path} is no profile: {error}') from None


def save_profile(profile: Profile, path: str | Path) -> None:
    """Write a profile as YAML, as a whole or not at all."""
    content = {
        'device': profile.device,
        'levels': [asdict(level) for level in profile.levels],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(path, text.encode())


def _level(index: int, item: Any) -> LevelProfile:
    if not isinstance(item, dict):
        raise ValueError(f'level {index} must be a mapping, not {type(item).__name__}')
    try:
        _check_keys(item, {field.name for field in fields(LevelProfile)})
        return LevelProfile(
            depth=str(_required(item, 'depth')),
            latency_ms=_number('latency_ms', _required(item, 'latency_ms')),
            latency_p95_ms=_number('latency_p95_ms', _required(item, 'latency_p95_ms')),
            energy_j=_number_or_none('energy_j', item.get('energy_j')),
            ap=_number_or_none('ap', item.get('ap')),
        )
    except ValueError as error:
        raise ValueError(f'level {index}: {error}') from None


def _check_keys(mapping: Mapping[Any, Any], known: set[str]) -> None:
    unknown = sorted(str(key) for key in mapping if key not in known)
    if unknown:
        raise ValueError(f'unknown key {", ".join(unknown)}; known: {", ".join(sorted(known))}')


def _required(mapping: Mapping[str, Any], name: str) -> Any:
    if mapping.get(name) is None:
        raise ValueError(f'{name} is missing')
    return mapping[name]


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)  # YAML reads 1e-3 as text
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f'{name} must be a number, not {value!r}') from None


def _number_or_none(name: str, value: Any) -> float | None:
    return None if value is None else _number(name, value)


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f'{name} must be a positive number, not {value}')

"""Settings are built from plain values, or refused in one line that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.config import from_mapping, load_yaml, to_mapping

pytest.importorskip('dacite')


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0


@dataclass(frozen=True)
class Example:
    number: float = 1.0
    perhaps: float | None = None
    count: int = 1
    name: str = 'a'
    on: bool = False
    sizes: tuple[int, ...] = ()
    limits: float | Mapping[str, float] | None = None
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ('given_values', 'expected'),
    [
        ({}, Example()),
        ({'number': 2, 'perhaps': '1e-3'}, Example(number=2.0, perhaps=1e-3)),
        ({'sizes': [1, 2]}, Example(sizes=(1, 2))),
        ({'limits': {'gpu': '80'}}, Example(limits={'gpu': 80.0})),
        ({'limits': 80}, Example(limits=80.0)),
        ({'inner': {'rate': 3}}, Example(inner=Inner(3.0))),
    ],
)
def test_plain_values_make_settings_and_come_back(
    given_values: dict[str, Any], expected: Example
) -> None:
    settings = from_mapping(given_values, Example)
    assert settings == expected
    assert from_mapping(to_mapping(settings), Example) == settings


@pytest.mark.parametrize(
    ('mapping', 'message'),
    [
        ({'number': [1]}, 'number must be a number, not [1]'),
        ({'number': None}, 'number must be a number, not null'),
        ({'number': 'fast'}, "number must be a number, not 'fast'"),
        ({'number': True}, 'number must be a number, not True'),
        ({'number': 10**400}, 'number must be a number, not 1000'),
        ({'perhaps': 'x'}, "perhaps must be a number, not 'x'"),
        ({'perhaps': {}}, 'perhaps must be a number, not {}'),
        ({'count': 1.5}, 'count must be a whole number, not 1.5'),
        ({'name': 3}, 'name must be text, not 3'),
        ({'sizes': 3}, 'sizes must be a list like the default, not 3'),
        ({'sizes': 'ab'}, "sizes must be a list like the default, not 'ab'"),
        ({'sizes': ['a']}, "sizes must be a list like the default, not ['a']"),
        ({'limits': [7]}, 'limits must be a number or a mapping or null, not [7]'),
        ({'limits': {'gpu': 'x'}}, 'limits must be a number or a mapping or null'),
        ({'inner': 3}, 'inner must be a mapping of settings, not 3'),
        ({'inner': {'rate': []}}, 'inner.rate must be a number, not []'),
        ({'other': 3}, 'unknown setting other; top-level settings: number, perhaps'),
        ({'inner': {3: 4}}, 'unknown setting 3'),
        ({3: 4}, 'the name of a setting must be text, not 3'),
        (None, 'settings must be a mapping, not null'),
        ([1], 'settings must be a mapping, not [1]'),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_field(mapping: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        from_mapping(mapping, Example)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
)


@given(st.dictionaries(st.sampled_from(list(to_mapping(Example()))), VALUES))
def test_any_value_is_taken_or_refused(mapping: dict[str, Any]) -> None:
    try:
        settings = from_mapping(mapping, Example)
    except ValueError:
        return
    assert isinstance(settings.number, float) and isinstance(settings.inner.rate, float)


@pytest.mark.parametrize('content', [b'a: [', b'\xff\xfe\xff', b'- 1'])
def test_a_file_that_holds_no_settings_is_named_in_one_line(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / 'settings.yaml'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='settings.yaml') as caught:
        load_yaml(path)
    assert len(str(caught.value).splitlines()) == 1

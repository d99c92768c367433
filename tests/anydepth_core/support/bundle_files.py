"""Change the files of a bundle and see how it is refused."""

from __future__ import annotations

from collections.abc import Callable
import hashlib
from typing import Any

import pytest
import yaml

from anydepth_core.export.bundle import Bundle, load_bundle


def edit(bundle: Bundle, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the parsed bundle.yaml in place and write it back."""
    path = bundle.path / 'bundle.yaml'
    value = yaml.safe_load(path.read_text())
    change(value)
    path.write_text(yaml.safe_dump(value))


def refusal(bundle: Bundle) -> str:
    """Return the sentence with which the bundle is refused."""
    with pytest.raises(ValueError) as caught:
        load_bundle(bundle.path)
    assert '\n' not in str(caught.value)
    assert str(bundle.path) in str(caught.value)
    return str(caught.value)


def replace_file(bundle: Bundle, name: str, content: bytes) -> None:
    """Put a file with a matching hash into the bundle."""
    (bundle.path / name).write_bytes(content)
    edit(bundle, lambda value: value['files'].update({name: hashlib.sha256(content).hexdigest()}))

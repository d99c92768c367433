"""Collect the tensors of a pickled network from the states of its modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anydepth_core.checkpoint.pickled import Inert, StoredTensor

_DEEPEST = 50
_MOST = 100_000


def is_module(value: Any) -> bool:
    """Whether an unpickled value was a ``torch.nn.Module``."""
    return isinstance(value, Inert) and '_modules' in attributes(value)


def attributes(module: Inert) -> Mapping[str, Any]:
    """Return the attributes of a pickled object, empty if it has none."""
    return module.state if isinstance(module.state, dict) else {}


def stored_state_dict(module: Inert) -> dict[str, StoredTensor]:
    """Return what ``state_dict()`` of a pickled module gave.

    Raises:
        ValueError: if the modules contain themselves or are too many.
    """
    tensors: dict[str, StoredTensor] = {}
    for count, (path, part) in enumerate(_walk(module, ())):
        if count == _MOST:
            raise ValueError(f'the pickled network has more than {_MOST} modules')
        state = attributes(part)
        passing = state.get('_non_persistent_buffers_set', ())
        own = {**_dict(state, '_parameters'), **_dict(state, '_buffers')}
        for name, value in own.items():
            if isinstance(value, StoredTensor) and name not in passing:
                tensors['.'.join((*path, name))] = value
    return tensors


def _walk(module: Inert, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Inert]]:
    if len(path) > _DEEPEST:
        raise ValueError(f'the pickled network nests more than {_DEEPEST} modules')
    yield path, module
    for name, child in _dict(attributes(module), '_modules').items():
        if isinstance(child, Inert):
            yield from _walk(child, (*path, str(name)))


def _dict(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = state.get(name)
    return value if isinstance(value, dict) else {}

"""Read the tensors of any checkpoint file, and what it says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
from pathlib import Path
import re
from typing import Any

from safetensors import safe_open, SafetensorError
import torch

from anydepth_core.checkpoint.modules import attributes, is_module, stored_state_dict
from anydepth_core.checkpoint.names_hf import check_config, is_hugging_face, official_names
from anydepth_core.checkpoint.pickled import StoredTensor, TorchFile

_FACTS = ('date', 'version', 'license', 'last_epoch')
_ZIP, _PICKLE = b'PK\x03\x04', b'\x80'


@dataclass(frozen=True)
class Source:
    """What a file of somebody else holds.

    Attributes:
        path: the file.
        form: what kind of file it is, in words.
        tensors: published or official names to tensors.
        class_names: name of each class, None if the file has none.
        facts: what the file says about its origin, plain values.
    """

    path: Path
    form: str
    tensors: Mapping[str, torch.Tensor]
    class_names: tuple[str, ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_source(path: str | Path) -> Source:
    """Read a checkpoint of somebody else; nothing that is pickled in it is run.

    Args:
        path: a file of ``torch.save``, a safetensors file, or the directory of a Hugging Face
            model.

    Raises:
        ValueError: if it cannot be read, is of an unknown form or holds no weights.
    """
    path = Path(path)
    if path.is_dir():
        path = path / 'model.safetensors'
    if not path.is_file():
        raise ValueError(f'{path} does not exist: check the path')
    with path.open('rb') as file:
        start = file.read(4)
    if start == _ZIP:
        return _from_torch_file(path)
    if start[:1] == _PICKLE:
        raise ValueError(
            f'{path} is in the form of torch before 1.6 or a bare pickle, which is not read: '
            'load it where it was made and torch.save it with a newer torch'
        )
    return _from_safetensors(path)


def _from_safetensors(path: Path) -> Source:
    try:
        with safe_open(str(path), framework='pt') as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f'{path} is neither a safetensors file nor one of torch.save: {error}'
        ) from None
    if not is_hugging_face(tensors):
        return Source(path, 'safetensors file', tensors)
    config = _config(path.with_name('config.json'))
    check_config(config)
    return Source(
        path,
        'Hugging Face RTDetrForObjectDetection',
        official_names(tensors),
        _class_names(config.get('id2label')),
    )


def _config(path: Path) -> dict[str, Any]:
    """Read the settings beside the weights; none where there is no such file."""
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is no JSON: {error}') from None
    if not isinstance(config, dict):
        raise ValueError(f'{path} holds no settings')
    return config


def _from_torch_file(path: Path) -> Source:
    with TorchFile(path) as file:
        place, stored, holder = _find_weights(path, file.root)
        tensors = {name: file.tensor(tensor) for name, tensor in stored.items()}
        said = file.root if isinstance(file.root, dict) else {}
    facts = {key: said[key] for key in _FACTS if isinstance(said.get(key), (str, int, float))}
    if is_hugging_face(tensors):
        tensors = official_names(tensors)
    return Source(path, f'torch file, {place}', tensors, _class_names(holder.get('names')), facts)


def _find_weights(
    path: Path, root: Any
) -> tuple[str, Mapping[str, StoredTensor], Mapping[str, Any]]:
    """Find the best weights: averaged ones first.

    Returns:
        What and where they are, the weights, and the attributes of the pickled network.
    """
    entries = root if isinstance(root, dict) else {}
    average = entries.get('ema')
    places = {
        'ema.module': average.get('module') if isinstance(average, dict) else None,
        'ema': average,
        'model': entries.get('model'),
        'the whole': root,
    }
    for part, value in places.items():
        if is_module(value):
            return f'pickled network ({part})', stored_state_dict(value), attributes(value)
        if isinstance(value, dict) and _is_state_dict(value):
            return f'state dict ({part})', value, {}
    raise ValueError(
        f'{path} holds no weights in {", ".join(places)} '
        f'(entries: {", ".join(map(str, entries)) or "none"})'
    )


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(
        isinstance(key, str) and isinstance(tensor, StoredTensor) for key, tensor in value.items()
    )


def _class_names(names: Any) -> tuple[str, ...] | None:
    """Read names in a list, or by number; None for none and for mere placeholders."""
    if isinstance(names, dict):
        numbered = {str(number): name for number, name in names.items()}
        names = [numbered.get(str(number)) for number in range(len(names))]
    if not isinstance(names, list) or not names:
        return None
    if not all(isinstance(name, str) and name.strip() for name in names):
        return None
    if all(re.fullmatch(r'(LABEL_|class)?\d+', name) for name in names):
        return None
    return tuple(' '.join(name.split()) for name in names)

"""Our checkpoints: one safetensors file with the weights and, in its metadata, what they are."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import safe_open, SafetensorError
from safetensors.torch import save
import torch

from anydepth_core.checkpoint.report import check_keys
from anydepth_core.files import write_atomically
from anydepth_core.models.build import build_detector
from anydepth_core.models.detector import Detector

_FORMAT = 'anydepth-checkpoint-1'


def save_checkpoint(
    path: str | Path,
    detector: Detector,
    metadata: Mapping[str, Any],
    state_dict: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write weights and metadata atomically.

    Args:
        path: target file, ``*.safetensors``.
        detector: the detector; its name, variant and number of classes are stored.
        metadata: JSON-serialisable facts (class names, image size, metrics per depth, recipe,
            epoch, seed).
        state_dict: weights to store instead of the detector's own (for example averaged ones).
    """
    description = {
        'format': _FORMAT,
        'name': detector.name,
        'variant': detector.variant,
        'num_classes': detector.num_classes,
    }
    save_tensors(path, state_dict or detector.state_dict(), {**metadata, **description})


def save_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write tensors, JSON metadata and a hash of both to a safetensors file atomically."""
    # safetensors refuses tensors that share memory
    packed = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in tensors.items()
    }
    # As bytes: writing itself, safetensors hides the error of the operating system.
    text = json.dumps(metadata)
    header = {'anydepth': text, 'sha256': _sha256(text, packed)}
    write_atomically(path, save(packed, metadata=header))


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Metadata of a checkpoint.

    Raises:
        ValueError: if the file is missing or no checkpoint of this project.
    """
    return read_tensors(path, tensors=False)[1]


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file is a safetensors file that this project wrote."""
    try:
        with safe_open(str(path), framework='pt') as file:
            return 'anydepth' in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_checkpoint(path: str | Path) -> Detector:
    """Build the detector of a checkpoint and load its weights; the detector is in evaluation mode.

    Raises:
        ValueError: if the file is missing, no checkpoint, or its weights do not fit; the message
            says which keys.
    """
    tensors, metadata = read_tensors(path)
    detector = build_detector(metadata['name'], metadata['variant'], metadata['num_classes'])
    load_weights(detector, tensors)
    return detector.eval()


def load_weights(detector: Detector, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load weights that must fit exactly.

    Raises:
        ValueError: if keys are missing, unexpected or misshaped; the message lists them.
    """
    expected = {key: tuple(value.shape) for key, value in detector.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in tensors.items()}
    check_keys(
        expected, given, f'{detector.name} ({detector.variant}, {detector.num_classes} classes)'
    )
    detector.load_state_dict(dict(tensors))


def read_tensors(
    path: str | Path, tensors: bool = True, expected_format: str = _FORMAT
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors and the metadata of a safetensors file written by this project.

    Raises:
        ValueError: if the file is missing, damaged, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f'checkpoint {path} does not exist: check the path')
    try:
        with safe_open(str(path), framework='pt') as file:
            header = file.metadata() or {}
            text = header.get('anydepth', '{}')
            metadata = json.loads(text)
            keys = list(file.keys()) if tensors else []
            loaded = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(
            f'{path} is no readable safetensors file ({error}): '
            'give a checkpoint of anydepth train or anydepth convert'
        ) from None
    if metadata.get('format') != expected_format:
        raise ValueError(
            f'{path} holds format {metadata.get("format")!r}, not {expected_format!r}; '
            'write it with anydepth train'
        )
    written = header.get('sha256')  # files from before there were hashes have none
    if tensors and written is not None and written != _sha256(text, loaded):
        raise ValueError(
            f'{path} is damaged, it does not hold what was written to it: restore it from a copy, '
            'or give another checkpoint'
        )
    return loaded, metadata


def _sha256(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Hash of metadata and of contiguous tensors, with their names and in the order of these."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

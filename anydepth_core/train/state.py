"""What a training run needs to go on: weights, averages and optimiser state in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anydepth_core.checkpoint.io import load_weights, read_tensors, save_tensors
from anydepth_core.models.detector import Detector
from anydepth_core.train.ema import Ema

_FORMAT = 'anydepth-train-state-1'


def save_state(
    path: Path,
    detector: Detector,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress: dict[str, Any],
) -> None:
    """Write the state after an epoch; ``progress`` holds the epoch and the best figure."""
    optimizer_state = optimizer.state_dict()
    tensors = {f'detector/{key}': value for key, value in detector.state_dict().items()}
    tensors |= {f'ema/{key}': value for key, value in ema.module.state_dict().items()}
    for index, entry in optimizer_state['state'].items():
        tensors |= {
            f'optimizer/{index}/{key}': torch.as_tensor(value)
            for key, value in entry.items()
            if value is not None
        }
    metadata = {
        'format': _FORMAT,
        'param_groups': optimizer_state['param_groups'],
        'ema_updates': ema.updates,
        'scaler': scaler.state_dict(),
        'progress': progress,
    }
    save_tensors(path, tensors, metadata)


def load_state(
    path: Path,
    detector: Detector,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> dict[str, Any]:
    """Load what :func:`save_state` wrote and return its ``progress``.

    Raises:
        ValueError: if the file is no training state or belongs to another detector.
    """
    tensors, metadata = read_tensors(path, expected_format=_FORMAT)
    load_weights(detector, _part(tensors, 'detector/'))
    ema.load(_part(tensors, 'ema/'), metadata['ema_updates'])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _part(tensors, 'optimizer/').items():
        index, name = key.split('/')
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({'state': state, 'param_groups': metadata['param_groups']})
    if metadata['scaler']:
        scaler.load_state_dict(metadata['scaler'])
    return metadata['progress']


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}

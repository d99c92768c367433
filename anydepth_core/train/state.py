"""What a training run needs to go on: weights, averages, optimiser and progress in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from anydepth_core.checkpoint.io import load_weights, read_tensors, save_tensors
from anydepth_core.models.detector import Detector
from anydepth_core.train.ema import Ema

_FORMAT = 'anydepth-train-state-2'


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs that are done, with their evaluation.
        step: steps of the running epoch that are done.
        sums: sums of the losses over these steps.
        seconds: time that they took.
        best: best AP so far, by depth, and ``mean`` over the evaluated depths.
        waited: evaluations since the mean was best.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict)
    waited: int = 0

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and step."""
        return self.epoch, self.step

    def add(self, losses: Mapping[str, float]) -> None:
        """Count a step with its losses."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.step += 1

    def next_epoch(self, ap: Mapping[str, float]) -> Progress:
        """Return the progress after this epoch.

        Args:
            ap: AP of the evaluated depths; nothing where the epoch was not evaluated.
        """
        if not ap:
            return Progress(self.epoch + 1, best=self.best, waited=self.waited)
        new = {**ap, 'mean': sum(ap.values()) / len(ap)}
        better = 'mean' not in self.best or new['mean'] > self.best['mean']
        best = {name: max(value, self.best.get(name, value)) for name, value in new.items()}
        waited = 0 if better else self.waited + 1
        return Progress(self.epoch + 1, best={**self.best, **best}, waited=waited)


@dataclass(frozen=True)
class Trained:
    """What changes while training runs.

    Attributes:
        detector: the detector.
        ema: its averages.
        optimizer: its optimiser.
        scaler: gradient scaler.
    """

    detector: Detector
    ema: Ema
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def save_state(
    path: Path, trained: Trained, progress: Progress, fingerprint: Mapping[str, Any]
) -> None:
    """Write the state between two steps.

    Args:
        path: target file.
        trained: what was trained.
        progress: how far.
        fingerprint: what the run is recognised by, see ``anydepth_core.train.fingerprint``.
    """
    optimizer_state = trained.optimizer.state_dict()
    tensors = {f'detector/{key}': value for key, value in trained.detector.state_dict().items()}
    tensors |= {f'ema/{key}': value for key, value in trained.ema.module.state_dict().items()}
    for index, entry in optimizer_state['state'].items():
        tensors |= {
            f'optimizer/{index}/{key}': torch.as_tensor(value)
            for key, value in entry.items()
            if value is not None
        }
    metadata = {
        'format': _FORMAT,
        'param_groups': optimizer_state['param_groups'],
        'ema_updates': trained.ema.updates,
        'scaler': trained.scaler.state_dict(),
        'progress': asdict(progress),
        'fingerprint': fingerprint,
    }
    save_tensors(path, tensors, metadata)


def read_fingerprint(path: Path) -> dict[str, Any]:
    """Return what the run of a state is recognised by.

    Raises:
        ValueError: if the file is missing or no training state.
    """
    return _read(path, tensors=False)[1]['fingerprint']


def load_state(path: Path, trained: Trained) -> Progress:
    """Load what :func:`save_state` wrote into ``trained`` and return the progress.

    The optimiser keeps its own rates and decays.

    Raises:
        ValueError: if the file is no training state or belongs to another detector.
    """
    tensors, metadata = _read(path)
    load_weights(trained.detector, _part(tensors, 'detector/'))
    trained.ema.load(_part(tensors, 'ema/'), metadata['ema_updates'])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _part(tensors, 'optimizer/').items():
        index, name = key.split('/')
        state.setdefault(int(index), {})[name] = value
    own = [
        {key: value for key, value in group.items() if key != 'params'}
        for group in trained.optimizer.param_groups
    ]
    groups = metadata['param_groups']
    trained.optimizer.load_state_dict({'state': state, 'param_groups': groups})
    for group, values in zip(trained.optimizer.param_groups, own):
        group.update(values)
    if metadata['scaler']:
        trained.scaler.load_state_dict(metadata['scaler'])
    return Progress(**metadata['progress'])


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    if not path.is_file():
        raise ValueError(
            f'{path} does not exist, so there is no run to go on with: check --output, or leave '
            '--resume out'
        )
    try:
        return read_tensors(path, tensors, _FORMAT)
    except ValueError as error:
        raise ValueError(
            f'{error}: this run cannot go on; start a new one in another --output, from its '
            f'weights with --init {path.parent / "last.safetensors"}'
        ) from None


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}

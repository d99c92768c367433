"""Whether a run can start, in seconds: recipe, data, memory, a small step; writes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import time

import numpy as np
import torch

from anydepth_core.data.coco import CocoDataset
from anydepth_core.data.loader import Batch
from anydepth_core.text_table import aligned
from anydepth_core.train.distributed import ALONE, Processes
from anydepth_core.train.loading import grouped
from anydepth_core.train.settings import ENDS, TrainSettings
from anydepth_core.train.step import any_depth_step
from anydepth_core.train.stepping import step_settings
from anydepth_core.train.trainer import Trainer

SAMPLES = 16
"""Images of each set that are decoded."""

TINY_PX = 2.0
"""A box of which a side is shorter in the network input is hardly learnt."""


def dry_run(
    settings: TrainSettings,
    train_set: CocoDataset,
    val_set: CocoDataset,
    output: Path,
    processes: Processes = ALONE,
) -> str:
    """Try what a run needs and return its plan as text.

    Args:
        settings: the recipe.
        train_set: training images.
        val_set: validation images.
        output: folder of the run, to which nothing is written.
        processes: the processes that would train together.

    Raises:
        ValueError: if the run could not start; the message says why.
        FloatingPointError: if the losses of the first images are not finite.
    """
    for dataset in (train_set, val_set):
        for index in np.linspace(0, len(dataset) - 1, SAMPLES).astype(int):
            dataset.load(int(index))
    small = replace(settings, batch_size=2, accumulate=1, workers=0, random_sizes=())
    trainer = Trainer(small, train_set, val_set, output, processes)
    trainer.trained.detector.train()
    batches = _batches(trainer)
    started = time.monotonic()
    losses = trainer.stepper.take(batches, trainer.progress, trainer.interruption)
    seconds = time.monotonic() - started
    activations = _activation_bytes(trainer)
    shown = ', '.join(f'{name} {part["total"]:.3f}' for name, part in vars(losses).items() if part)
    height, width = settings.image_size
    rows = [
        ('model', _model(settings, trainer)),
        ('training', _data(train_set)),
        ('validation', _data(val_set)),
        *(('look at', text) for text in _doubts(train_set, settings)),
        ('one step', f'losses of 2 images at {width}x{height}: {shown} ({seconds:.1f} s)'),
        ('memory', _memory(settings, trainer, activations)),
        *_plan(settings, train_set, processes),
        ('files', _files(output)),
    ]
    return f'{aligned(rows, left=2)}\nThe run can start; nothing was written.'


def _batches(trainer: Trainer) -> list[Batch]:
    return next(grouped(trainer.loader(), 1, 1))


def _activation_bytes(trainer: Trainer) -> int:
    """Bytes that the full pass, the larger one, keeps for its backward pass, for two images."""
    trained, objective, small = trainer.trained, trainer.stepper.objective, trainer.settings
    own = {value.untyped_storage().data_ptr() for value in trained.detector.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    objective.set_step(0, 0)
    views = [(batch.to(trainer.processes.device), None) for batch in _batches(trainer)]
    full_only = replace(step_settings(small), passes='full')
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        any_depth_step(
            trained.detector,
            views,
            trained.optimizer,
            objective,
            full_only,
            trained.scaler,
            parallel=trainer.stepper.parallel,
            processes=trainer.processes,
        )
    return sum(kept.values())


def _model(settings: TrainSettings, trainer: Trainer) -> str:
    detector = trainer.trained.detector
    millions = sum(value.numel() for value in detector.parameters()) / 1e6
    start = settings.init or 'random weights'
    return f'{detector.name} ({detector.variant}), {millions:.2f} M parameters, from {start}'


def _data(dataset: CocoDataset) -> str:
    counts = [len(dataset.target(index).labels) for index in range(len(dataset))]
    return (
        f'{dataset.json_path}: {len(dataset)} images, {sum(counts)} boxes of '
        f'{len(dataset.class_names)} classes, {counts.count(0)} images without boxes'
    )


def _doubts(dataset: CocoDataset, settings: TrainSettings) -> list[str]:
    """List what is allowed, but seldom meant."""
    targets = [dataset.target(index) for index in range(len(dataset))]
    seen = {int(label) for target in targets for label in target.labels}
    tiny = 0
    for target, size in zip(targets, dataset.image_sizes):
        scale = min(side / own for side, own in zip(settings.image_size, size))
        sides = target.boxes_xyxy_px[:, 2:] - target.boxes_xyxy_px[:, :2]
        tiny += int((sides.min(axis=1, initial=np.inf) * scale < TINY_PX).sum())
    doubts = []
    if tiny:
        doubts.append(f'{tiny} boxes are thinner than {TINY_PX:g} pixels in the network input')
    unseen = [name for label, name in enumerate(dataset.class_names) if label not in seen]
    if unseen:
        doubts.append(f'no training image shows {", ".join(unseen)}')
    return doubts


def _memory(settings: TrainSettings, trainer: Trainer, activations: int) -> str:
    """Estimate what each process needs while it trains."""
    detector = trainer.trained.detector
    values = sum(value.nbytes for value in (*detector.parameters(), *detector.buffers()))
    states = 2 if settings.optimizer.name == 'adamw' else 1
    learnt = sum(value.nbytes for value in detector.parameters() if value.requires_grad)
    fixed = 2 * values + (1 + states) * learnt
    height, width = settings.image_size
    area = max([height * width, *(side * side for side in settings.random_sizes)])
    images = len(_batches(trainer)[0])
    passing = activations / images * settings.batch_size * area / (height * width)
    text = (
        f'about {_size(fixed + passing)} for a process: {_size(fixed)} for weights, averages and '
        f'optimiser, {_size(passing)} for {settings.batch_size} images; main memory for writing '
        f'the state: {_size(2 * fixed)}'
    )
    device = trainer.processes.device
    if device.type == 'cuda':
        text += f'; {device} has {_size(torch.cuda.get_device_properties(device).total_memory)}'
    if settings.data.cache:
        sets = (trainer.train_set, trainer.val_set)
        pixels = sum(high * wide for data in sets for high, wide in data.image_sizes)
        text += f'; decoded images (data.cache) {_size(3 * pixels)}'
    return text


def _plan(
    settings: TrainSettings, train_set: CocoDataset, processes: Processes
) -> list[tuple[str, str]]:
    images = settings.batch_size * settings.accumulate * processes.count
    steps = max(1, len(train_set) // images)
    sizes = ', '.join(map(str, sorted(set(settings.random_sizes)))) or 'one size'
    height, width = settings.image_size
    return [
        (
            'steps',
            f'{settings.epochs} epochs of {steps} steps of {images} images (batch '
            f'{settings.batch_size} x accumulate {settings.accumulate} x processes '
            f'{processes.count}), {settings.precision}',
        ),
        (
            'sizes',
            f'{sizes}; the last {settings.plain_epochs} epochs and evaluation {width}x{height}',
        ),
        (
            'evaluated',
            f'{", ".join(settings.evaluate_depths)}, every {settings.evaluate_every} epochs',
        ),
    ]


def _files(output: Path) -> str:
    names = ['last', *(f'best_{depth}' for depth in ENDS), 'state']
    return f'{output}/: ' + ', '.join([*(f'{name}.safetensors' for name in names), 'metrics.csv'])


def _size(number: float) -> str:
    return f'{number / 2**30:.1f} GiB' if number >= 2**30 else f'{number / 2**20:.0f} MiB'

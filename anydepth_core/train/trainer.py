"""The training loop: epochs of any-depth steps, evaluation at full and base, log, checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
import logging
from pathlib import Path
import time

import torch
from tqdm import tqdm

from anydepth_core.checkpoint.io import save_checkpoint
from anydepth_core.config import to_mapping
from anydepth_core.data.coco import CocoDataset
from anydepth_core.data.loader import Batch, build_loader, Loader
from anydepth_core.evaluation.evaluator import evaluate
from anydepth_core.evaluation.torch_predict import torch_predict
from anydepth_core.models.build import build_detector
from anydepth_core.train.distributed import ALONE, Processes
from anydepth_core.train.ema import Ema
from anydepth_core.train.families import build_objective
from anydepth_core.train.metrics_log import MetricsLog
from anydepth_core.train.optim import build_optimizer, step_rates
from anydepth_core.train.settings import TrainSettings
from anydepth_core.train.start import starting_detector
from anydepth_core.train.state import load_state, save_state
from anydepth_core.train.step import any_depth_step, StepLosses, StepSettings
from anydepth_core.train.views import draw_views

logger = logging.getLogger(__name__)

DEPTHS = ('full', 'base')
"""Depths evaluated after an epoch."""


class Trainer:
    """Train one detector.

    ``output`` receives ``last.safetensors`` and ``best.safetensors`` (averaged weights; best by
    the mean of AP at full and base), ``state.safetensors`` (everything a resumed run needs) and
    ``metrics.csv``. Of several processes the first one evaluates and writes.

    Args:
        settings: the recipe.
        train_set: training images.
        val_set: validation images, with the same classes.
        output: folder for the results.
        processes: the processes that train together, and the device of this one.
        resume: go on from ``state.safetensors`` in ``output``.

    Raises:
        ValueError: if the data sets have different classes, the weights of the recipe do not fit,
            or there is nothing to resume.
    """

    def __init__(
        self,
        settings: TrainSettings,
        train_set: CocoDataset,
        val_set: CocoDataset,
        output: Path,
        processes: Processes = ALONE,
        resume: bool = False,
    ) -> None:
        if train_set.class_names != val_set.class_names:
            raise ValueError('training and validation annotations list different classes')
        torch.manual_seed(settings.seed)
        self.settings, self.output, self.processes = settings, output, processes
        self.train_set, self.val_set = train_set, val_set
        device, classes = processes.device, len(train_set.class_names)
        if resume:
            detector = build_detector(settings.model.name, settings.model.variant, classes)
        else:
            detector = starting_detector(settings.model, classes, settings.weights)
        self.detector = detector.to(device)
        # channels last: the layout in which both CPU and GPU convolutions are fastest
        self.detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = build_objective(
            self.detector.family, settings.loss, classes, settings.seed, processes
        )
        self.ema = Ema(self.detector, settings.ema_decay, settings.ema_ramp)
        self.optimizer = build_optimizer(self.detector, settings.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == 'float16')
        self.first_epoch, self.best = 0, -1.0
        if resume:
            progress = load_state(
                output / 'state.safetensors', self.detector, self.ema, self.optimizer, self.scaler
            )
            self.first_epoch, self.best = progress['epoch'], progress['best']
        self.log = MetricsLog(output / 'metrics.csv', self.first_epoch)
        self.parallel = processes.parallel(self.detector)

    @property
    def autocast(self) -> torch.dtype | None:
        """Precision of the passes, None for float32."""
        return (
            None
            if self.settings.precision == 'float32'
            else getattr(torch, self.settings.precision)
        )

    def run(self) -> dict[str, dict[str, float]]:
        """Train until the last epoch.

        Returns:
            The COCO statistics of the last evaluation, per depth; nothing in other processes than
            the first.

        Raises:
            FloatingPointError: if a loss is not finite; the files of the last epoch are intact.
        """
        metrics: dict[str, dict[str, float]] = {}
        for epoch in range(self.first_epoch, self.settings.epochs):
            started = time.monotonic()
            row = self.train_epoch(epoch)
            if self.processes.first:
                metrics = self._finish_epoch(epoch, row, started) or metrics
            self.processes.wait()
        return metrics

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; return the mean losses of this process and the last learning rate."""
        self.detector.train()
        self.objective.set_epoch(epoch)
        loader = self._loader(epoch)
        take_step = partial(
            any_depth_step,
            self.detector,
            optimizer=self.optimizer,
            objective=self.objective,
            settings=StepSettings(self.settings.clip_norm, self.autocast),
            scaler=self.scaler,
            ema=self.ema,
            parallel=self.parallel,
            processes=self.processes,
        )
        sums: dict[str, float] = {}
        with tqdm(
            loader,
            desc=f'epoch {epoch + 1}/{self.settings.epochs}',
            unit='step',
            mininterval=1,
            disable=not self.processes.first,
        ) as bar:
            for step, (batch, base_batch) in enumerate(self._views(bar, epoch)):
                rates = step_rates(
                    self.settings.optimizer, epoch + step / len(loader), self.settings.epochs
                )
                losses = take_step(batch=batch, base_batch=base_batch, rates=rates)
                for name, value in _flat(losses).items():
                    sums[name] = sums.get(name, 0.0) + value / len(loader)
                bar.set_postfix(_shown(losses), refresh=False)
        return {'rate': rates.rate, **sums}

    def evaluate(self) -> dict[str, dict[str, float]]:
        """COCO statistics of the averaged weights on the validation set, per depth."""
        size = self.settings.image_size
        return {
            depth: evaluate(
                torch_predict(self.ema.module, depth, size, precision=self.autocast),
                self.val_set,  # type: ignore[arg-type]
            )
            for depth in DEPTHS
        }

    def _finish_epoch(
        self, epoch: int, row: dict[str, float], started: float
    ) -> dict[str, dict[str, float]]:
        """Evaluate where it is due, log and save."""
        metrics: dict[str, dict[str, float]] = {}
        if epoch + 1 == self.settings.epochs or (epoch + 1) % self.settings.evaluate_every == 0:
            metrics = self.evaluate()
            row |= {
                f'{name}_{depth}': metrics[depth][name]
                for depth in DEPTHS
                for name in ('AP', 'AP50')
            }
        self.log.append({'epoch': epoch, **row, 'seconds': time.monotonic() - started})
        self._save(epoch + 1, metrics)
        logger.info('epoch %d: %s', epoch + 1, _summary(row))
        return metrics

    def _loader(self, epoch: int) -> Loader:
        augment = self.settings.augment
        if self._plain(epoch):
            augment = replace(augment, mosaic=0.0)
        loader = build_loader(
            self.train_set,
            self.settings.image_size,
            self.settings.batch_size,
            augment,
            self.settings.workers,
            self.settings.seed,
            shuffle=True,
            resize=self.detector.resize,
            shard=(self.processes.rank, self.processes.count),
        )
        loader.set_epoch(epoch)
        return loader

    def _views(self, batches: Iterable[Batch], epoch: int) -> Iterator[tuple[Batch, Batch | None]]:
        """Batches on the device, before the plain epochs at sizes drawn from the seed."""
        generator = torch.Generator().manual_seed(self.settings.seed * 100_003 + epoch)
        sizes = () if self._plain(epoch) else self.settings.random_sizes
        same_view, device = self.objective.same_view, self.processes.device
        return draw_views(batches, sizes, same_view, generator, device)

    def _plain(self, epoch: int) -> bool:
        return epoch >= self.settings.epochs - self.settings.plain_epochs

    def _save(self, epoch: int, metrics: dict[str, dict[str, float]]) -> None:
        metadata = {
            'class_names': list(self.train_set.class_names),
            'image_size': list(self.settings.image_size),
            'epoch': epoch,
            'seed': self.settings.seed,
            'metrics': metrics,
            'recipe': to_mapping(self.settings),
        }
        weights = self.ema.module.state_dict()
        save_checkpoint(self.output / 'last.safetensors', self.detector, metadata, weights)
        score = sum(metrics[depth]['AP'] for depth in metrics) / len(DEPTHS) if metrics else -1.0
        if score > self.best:
            self.best = score
            save_checkpoint(self.output / 'best.safetensors', self.detector, metadata, weights)
        save_state(
            self.output / 'state.safetensors',
            self.detector,
            self.ema,
            self.optimizer,
            self.scaler,
            {'epoch': epoch, 'best': self.best},
        )


def _flat(losses: StepLosses) -> dict[str, float]:
    parts = {'full': losses.full, 'base': losses.base, 'distillation': losses.distillation}
    return {
        f'{part}_{name}': value for part, items in parts.items() for name, value in items.items()
    }


def _shown(losses: StepLosses) -> dict[str, str]:
    """Losses for the progress bar."""
    return {
        'full': f'{losses.full["total"]:.2f}',
        'base': f'{losses.base["total"]:.2f}',
        'distillation': f'{losses.distillation["total"]:.3f}',
    }


def _summary(row: dict[str, float]) -> str:
    names = (
        'full_total',
        'base_total',
        'distillation_total',
        'AP_full',
        'AP50_full',
        'AP_base',
        'AP50_base',
    )
    return ', '.join(f'{name} {row[name]:.3f}' for name in names if name in row)

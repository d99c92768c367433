"""The training loop: epochs of any-depth steps, evaluation, logs, checkpoints."""

from __future__ import annotations

from dataclasses import replace
import logging
from pathlib import Path
import signal
import time

import torch
from tqdm import tqdm

from anydepth_core.config import to_mapping
from anydepth_core.data.coco import CocoDataset
from anydepth_core.data.loader import build_loader, Loader
from anydepth_core.errors import sentence
from anydepth_core.evaluation.evaluator import evaluate
from anydepth_core.evaluation.torch_predict import torch_predict
from anydepth_core.train.chance import deterministic
from anydepth_core.train.distributed import ALONE, Processes
from anydepth_core.train.ema import Ema
from anydepth_core.train.families import build_objective
from anydepth_core.train.fingerprint import check_same_run, fingerprint
from anydepth_core.train.interruption import Interruption, Stopped
from anydepth_core.train.loading import grouped, loading_errors, steps_per_epoch
from anydepth_core.train.optim import build_optimizer
from anydepth_core.train.results import ap_columns, Metrics, Results
from anydepth_core.train.settings import TrainSettings
from anydepth_core.train.start import check_depths, check_same_classes, prepared_detector
from anydepth_core.train.state import load_state, Progress, read_fingerprint, save_state, Trained
from anydepth_core.train.step import StepLosses
from anydepth_core.train.stepping import autocast_of, is_plain, Stepper

logger = logging.getLogger(__name__)


class Trainer:
    """Train one detector.

    ``output`` receives ``last.safetensors``, ``best_full.safetensors`` and
    ``best_base.safetensors`` (averaged weights; best by AP at that depth), ``metrics.csv``, event
    files in ``tensorboard`` where that is installed, and ``state.safetensors``, from which a run
    goes on at the very step: it is written after every epoch, every ``save_minutes``, and when
    the run ends before its time. Of several processes the first one evaluates and writes; the
    losses in the logs are those of its images.

    Args:
        settings: the recipe.
        train_set: training images.
        val_set: validation images, with the same classes.
        output: folder for the results.
        processes: the processes that train together, and the device of this one.
        resume: go on from ``state.safetensors`` in ``output``.

    Attributes:
        saved: epochs, and steps of the next one, that ``state.safetensors`` holds.

    Raises:
        ValueError: if the data sets have different classes, the weights of the recipe do not fit,
            a depth is none of the detector's, or there is no such run to resume.
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
        check_same_classes(train_set, val_set)
        self.settings, self.output, self.processes = settings, output, processes
        self.train_set, self.val_set = train_set, val_set
        self.fingerprint = fingerprint(settings, train_set, val_set, processes.count)
        if resume:
            changed = check_same_run(read_fingerprint(self.state_path), self.fingerprint)
            if changed:
                logger.info('the run goes on with other settings: %s', ', '.join(changed))
        classes = len(train_set.class_names)
        detector = prepared_detector(settings, classes, processes.device, fresh=not resume)
        check_depths(detector, settings)
        self.trained = Trained(
            detector,
            Ema(detector, settings.ema_decay, settings.ema_ramp),
            build_optimizer(detector, settings.optimizer),
            torch.amp.GradScaler(processes.device.type, enabled=settings.precision == 'float16'),
        )
        self.progress = load_state(self.state_path, self.trained) if resume else Progress()
        self.steps = steps_per_epoch(self.loader(), settings.accumulate)
        family, seed = detector.family, settings.seed
        objective = build_objective(family, settings.loss, classes, seed, processes)
        self.stepper = Stepper(settings, self.trained, objective, processes, self.steps)
        self.interruption = Interruption()
        self.saved, self._saved_at = self.progress.position, time.monotonic()

    @property
    def state_path(self) -> Path:
        """File from which a run goes on."""
        return self.output / 'state.safetensors'

    def run(self) -> Metrics:
        """Train until the last epoch, or until ``patience`` is at its end.

        Whatever is raised, ``state.safetensors`` then holds every step before it, unless it
        cannot be written.

        Returns:
            The COCO statistics of the last evaluation, per depth; nothing in other processes than
            the first.

        Raises:
            Stopped: after Ctrl-C or SIGTERM.
            FloatingPointError: if a loss is not finite.
            RuntimeError: if a loading process dies.
            ValueError: if an image cannot be read.
            OSError: if a file cannot be written.
        """
        with self.interruption, deterministic(self.settings.deterministic):
            try:
                return self._run()
            except BaseException as error:
                self._keep()
                asked = self.interruption.asked
                # who stops a service or a container signals the loading processes as well
                if asked is not None and isinstance(error, Exception):
                    raise Stopped(asked) from error
                raise

    def _run(self) -> Metrics:
        metrics: Metrics = {}
        if self._ended:
            logger.info('the run has ended already, after %d epochs', self.progress.epoch)
            return metrics
        results = self._results() if self.processes.first else None
        while not self._ended:
            row, evaluated = self.train_epoch(), Metrics()
            if results is not None:
                row, evaluated = self._evaluate_if_due(row)
                metrics = evaluated or metrics
                results.save(self.trained.ema, self.progress, evaluated, row)
            self._end_epoch(evaluated)
            if results is not None:
                results.show(self.progress.epoch, row)
        return metrics

    def train_epoch(self) -> dict[str, float]:
        """Train the steps of the epoch that are left; return the figures of the whole epoch."""
        progress, accumulate = self.progress, self.settings.accumulate
        self.trained.detector.train()
        loader = self.loader()
        loader.set_epoch(progress.epoch, progress.step * accumulate)
        with self.interruption.held(), loading_errors(), self._bar() as bar:
            started = time.monotonic()
            for batches in grouped(loader, accumulate, self.steps - progress.step):
                losses = self.stepper.take(batches, progress, self.interruption)
                progress.seconds += time.monotonic() - started
                started = time.monotonic()
                bar.set_postfix(_shown(losses), refresh=False)
                bar.update()
                self._stop_if_asked()
                self._save_if_due()
        images = min(self.fingerprint['images per step'] * self.steps, len(self.train_set))
        return {
            'rate': self.stepper.rates(progress.epoch, self.steps - 1).rate,
            **{name: total / self.steps for name, total in progress.sums.items()},
            'images_per_second': images / progress.seconds,
            'seconds': progress.seconds,
        }

    def evaluate(self) -> Metrics:
        """COCO statistics of the averaged weights on the validation set, per depth."""
        size, precision = self.settings.image_size, autocast_of(self.settings)
        return {
            depth: evaluate(
                torch_predict(self.trained.ema.module, depth, size, precision=precision),
                self.val_set,
            )
            for depth in self.settings.evaluate_depths
        }

    def _evaluate_if_due(self, row: dict[str, float]) -> tuple[dict[str, float], Metrics]:
        """Return the figures of the epoch together with those of the evaluation, and these."""
        epoch, settings = self.progress.epoch + 1, self.settings
        if epoch != settings.epochs and epoch % settings.evaluate_every:
            return row, {}
        started = time.monotonic()
        metrics = self.evaluate()
        seconds = row['seconds'] + time.monotonic() - started
        return {**row, **ap_columns(metrics), 'seconds': seconds}, metrics

    def _end_epoch(self, metrics: Metrics) -> None:
        """Count the epoch and save; the other processes wait for the first one here."""
        done = self.progress.next_epoch({depth: row['AP'] for depth, row in metrics.items()})
        self.progress = done
        self._save()
        done.waited = self.processes.gather(done.waited)[0]
        if self._ended and done.epoch < self.settings.epochs:
            logger.info('no better mean AP in %d evaluations: the run ends', done.waited)

    @property
    def _ended(self) -> bool:
        patience = self.settings.patience
        return self.progress.epoch >= self.settings.epochs or 0 < patience <= self.progress.waited

    def _stop_if_asked(self) -> None:
        """End the run in all processes, after the same step, if one got a signal."""
        asked = self.interruption.asked
        if self.processes.any(asked is not None):
            raise Stopped(signal.SIGTERM if asked is None else asked)

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= 60 * self.settings.save_minutes:
            self._save()

    def _save(self) -> None:
        if self.processes.first:
            save_state(self.state_path, self.trained, self.progress, self.fingerprint)
        self.saved, self._saved_at = self.progress.position, time.monotonic()

    def _keep(self) -> None:
        """Save what was trained since the last time, after an error."""
        if self.saved == self.progress.position or not self.stepper.between:
            return
        try:
            self._save()
        except Exception as error:
            # the error that ends the run says what to do
            logger.warning('the steps since the last save are lost: %s', sentence(error))

    def loader(self) -> Loader:
        """Return the batches of the running epoch."""
        augment, settings = self.settings.augment, self.settings
        return build_loader(
            self.train_set,
            settings.image_size,
            settings.batch_size,
            augment.plain() if is_plain(settings, self.progress.epoch) else augment,
            settings.workers,
            settings.seed,
            shuffle=True,
            resize=self.trained.detector.resize,
            shard=(self.processes.rank, self.processes.count),
        )

    def _bar(self) -> tqdm[None]:
        return tqdm(
            total=self.steps,
            initial=self.progress.step,
            desc=f'epoch {self.progress.epoch + 1}/{self.settings.epochs}',
            unit='step',
            mininterval=1,
            leave=False,
            # None: on a terminal only
            disable=None if self.processes.first else True,
        )

    def _results(self) -> Results:
        metadata = {
            'class_names': list(self.train_set.class_names),
            'image_size': list(self.settings.image_size),
            'seed': self.settings.seed,
            # a checkpoint is passed on: where this machine keeps its files is nobody's business
            'recipe': to_mapping(replace(self.settings, init=Path(self.settings.init).name)),
        }
        return Results(self.output, self.settings, metadata, self.progress, self.steps)


def _shown(losses: StepLosses) -> dict[str, str]:
    """Losses for the progress bar."""
    return {name: f'{part["total"]:.3f}' for name, part in vars(losses).items() if part}

"""Steps of a run: what each draws, and that a failing one leaves everything as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from anydepth_core.data.loader import Batch
from anydepth_core.train.chance import seed_of
from anydepth_core.train.distributed import Processes
from anydepth_core.train.interruption import Interruption
from anydepth_core.train.objective import Objective
from anydepth_core.train.optim import step_rates, StepRates
from anydepth_core.train.settings import TrainSettings
from anydepth_core.train.state import Progress, Trained
from anydepth_core.train.step import any_depth_step, StepLosses, StepSettings
from anydepth_core.train.views import draw_base_depth, draw_views

_VIEWS = 1
"""Key of the chance that sizes and depths follow."""


class Stepper:
    """Takes the steps of one run.

    Args:
        settings: the recipe.
        trained: what is trained.
        objective: what it learns.
        processes: the processes that train together.
        steps: steps of an epoch.

    Attributes:
        between: whether no step is half done.
    """

    def __init__(
        self,
        settings: TrainSettings,
        trained: Trained,
        objective: Objective,
        processes: Processes,
        steps: int,
    ) -> None:
        self.settings, self.trained, self.objective = settings, trained, objective
        self.processes, self.steps = processes, steps
        self.parallel = processes.parallel(trained.detector)
        self.between = True

    def take(
        self, batches: Sequence[Batch], progress: Progress, interruption: Interruption
    ) -> StepLosses:
        """Train one step and count it in ``progress``; an error leaves all as it was.

        Raises:
            FloatingPointError: if a loss is not finite.
            RuntimeError: if a loading process died meanwhile; the step is then done.
        """
        settings, detector = self.settings, self.trained.detector
        self.objective.set_step(progress.epoch, progress.step)
        key = (settings.seed, progress.epoch, progress.step, _VIEWS)
        generator = torch.Generator().manual_seed(seed_of(*key))
        sizes = () if is_plain(settings, progress.epoch) else settings.random_sizes
        same_view, device = self.objective.same_view, self.processes.device
        views = draw_views(batches, sizes, same_view, generator, device)
        depth = draw_base_depth(detector.depth_space, settings.sample_depths, generator)
        with interruption.step(), self._undone_on_error():
            losses = any_depth_step(
                detector,
                views,
                self.trained.optimizer,
                self.objective,
                step_settings(settings),
                self.trained.scaler,
                self.trained.ema,
                self.rates(progress.epoch, progress.step),
                self.parallel,
                self.processes,
                depth,
            )
            progress.add(_flat(losses))
        return losses

    def rates(self, epoch: int, step: int) -> StepRates:
        """Return the learning rate and momentum of a step."""
        return step_rates(self.settings.optimizer, epoch + step / self.steps, self.settings.epochs)

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        """Put the statistics of the norms back if a step fails: it does before any weight changes.

        A second Ctrl-C may fall between any two operations; ``between`` then stays False.
        """
        buffers = list(self.trained.detector.buffers())
        before = [buffer.clone() for buffer in buffers]
        self.between = False
        try:
            yield
        except Exception:
            for buffer, value in zip(buffers, before):
                buffer.copy_(value)
            self.between = True
            raise
        self.between = True


def is_plain(settings: TrainSettings, epoch: int) -> bool:
    """Whether an epoch is one of the last, without mosaic and with one input size."""
    return epoch >= settings.epochs - settings.plain_epochs


def step_settings(settings: TrainSettings) -> StepSettings:
    """Return what a recipe says of a step."""
    return StepSettings(settings.clip_norm, autocast_of(settings), settings.ablation.passes)


def autocast_of(settings: TrainSettings) -> torch.dtype | None:
    """Return the precision of the passes, None for float32."""
    precision = settings.precision
    return None if precision == 'float32' else getattr(torch, precision)


def _flat(losses: StepLosses) -> dict[str, float]:
    return {
        f'{part}_{name}': value
        for part, items in vars(losses).items()
        for name, value in items.items()
    }

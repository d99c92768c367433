"""One training step: a full pass, then a base pass that learns from it (arXiv 2605.09407)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from anydepth_core.data.loader import Batch
from anydepth_core.depth import DepthConfig
from anydepth_core.models.detector import Detector, Losses
from anydepth_core.train.distributed import ALONE, postponed, Processes
from anydepth_core.train.ema import Ema
from anydepth_core.train.objective import Objective
from anydepth_core.train.optim import set_rates, StepRates

_NOT_FINITE: Losses = {'predictions': torch.tensor(float('nan'))}


@dataclass(frozen=True)
class StepSettings:
    """What one step does.

    Attributes:
        clip_norm: largest norm of the gradient.
        autocast: run both passes in this half precision (the losses stay in float32); None for
            float32.
        passes: ``both``; ``full`` or ``base`` for one pass at that depth, which learns the ground
            truth alone, as the ordinary detector of that size would.
    """

    clip_norm: float = 10.0
    autocast: torch.dtype | None = None
    passes: str = 'both'


@dataclass(frozen=True)
class StepLosses:
    """Losses of one step, the mean over its batches: ground truth at full and base, distillation.

    Each holds the terms of the family and ``total``, their sum; nothing for a pass that did not
    run.
    """

    full: dict[str, float]
    base: dict[str, float]
    distillation: dict[str, float]


def any_depth_step(
    detector: Detector,
    batches: Sequence[tuple[Batch, Batch | None]],
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    settings: StepSettings,
    scaler: torch.amp.GradScaler | None = None,
    ema: Ema | None = None,
    rates: StepRates | None = None,
    parallel: nn.Module | None = None,
    processes: Processes = ALONE,
    base_depth: DepthConfig | str = 'base',
) -> StepLosses:
    """Train on some batches: all gradients add up, then one optimiser and one EMA step.

    Several batches give the gradient of the one batch that they make together, with three
    differences that remain where a machine cannot hold them at once: every batch is normalised by
    its own statistics (and updates the running ones once); its losses are divided by its own
    normaliser, the number of its targets or their scores; batches of unequal size weigh the same.

    Args:
        detector: the detector, in training mode.
        batches: images and ground truth, on the detector's device, as ``draw_views`` gives them:
            what the full pass sees, and what the base pass sees where the objective's
            ``same_view`` is False, None for the same. As many in every process.
        optimizer: the optimiser.
        objective: what the detector's family learns.
        settings: passes, precision and limit of the gradient.
        scaler: gradient scaler; needed with float16.
        ema: averaged weights to update.
        rates: learning rates of this step, None to leave the optimiser's.
        parallel: the detector as ``Processes.parallel`` wraps it: backward passes then average
            the gradients over the processes.
        processes: the processes that train together.
        base_depth: depth of the base pass, see ``draw_base_depth``; the same in all processes.

    Raises:
        FloatingPointError: if a loss, in any process, or the gradient is not finite; weights and
            averages are then unchanged. (A gradient beyond float16 only leaves the step out, as
            the scaler does.)
    """
    scaler = scaler or torch.amp.GradScaler(enabled=False)
    network = detector if parallel is None else parallel
    # A loss that grows with the images does so over batches, but DistributedDataParallel takes
    # the mean over processes; one that does not is averaged over both.
    share = processes.count if objective.grows else 1 / len(batches)
    passes = _Passes(network, objective, settings, scaler, processes, share, base_depth)
    optimizer.zero_grad(set_to_none=True)

    losses = []
    for number, (batch, base_batch) in enumerate(batches, 1):
        with postponed(parallel if number < len(batches) else None):
            losses.append(passes.run(batch, base_batch))

    if rates is not None:
        set_rates(optimizer, rates)
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(detector.parameters(), settings.clip_norm)
    if not (scaler.is_enabled() or norm.isfinite()):
        raise FloatingPointError(f'the gradient is not finite; {_hint(settings)}')
    scaler.step(optimizer)
    scaler.update()
    if ema is not None:
        ema.update(detector)
    return _mean(losses)


@dataclass(frozen=True)
class _Passes:
    """The passes over one batch, forward and backward; activations are freed on return.

    Attributes:
        network: the detector or what wraps it.
        objective: what it learns.
        settings: passes and precision.
        scaler: gradient scaler.
        processes: the processes that train together.
        share: factor of every loss that runs backward.
        base_depth: depth of the base pass.
    """

    network: nn.Module
    objective: Objective
    settings: StepSettings
    scaler: torch.amp.GradScaler
    processes: Processes
    share: float
    base_depth: DepthConfig | str

    def run(self, batch: Batch, base_batch: Batch | None) -> StepLosses:
        """Run the passes over one batch."""
        targets = self.objective.prepare(batch)
        if self.settings.passes != 'both':
            losses, _ = self._truth(batch, targets, self.settings.passes)
            return replace(StepLosses({}, {}, {}), **{self.settings.passes: losses})
        full, teacher = self._truth(batch, targets, 'full')
        if not self.objective.same_view:
            batch = batch if base_batch is None else base_batch
            targets = self.objective.prepare(batch)
        return StepLosses(full, *self._taught(batch, targets, teacher))

    def _truth(self, batch: Batch, targets: Any, depth: str) -> tuple[dict[str, float], Any]:
        """Losses of a pass that learns the ground truth alone, and what it can teach."""
        raw = self._forward(batch, targets, depth)
        try:
            losses, teacher = self.objective.full(raw, targets)
        except FloatingPointError:
            losses, teacher = _NOT_FINITE, None
        self._require_finite(losses, f'{depth} pass')
        self._backward(losses['total'])
        return _numbers(losses), teacher

    def _taught(
        self, batch: Batch, targets: Any, teacher: Any
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Losses of the base pass: ground truth, distillation."""
        raw = self._forward(batch, targets, self.base_depth)
        try:
            losses, distillation = self.objective.base(raw, teacher, targets)
        except FloatingPointError:
            losses, distillation = _NOT_FINITE, {}
        taught = {f'distillation {name}': loss for name, loss in distillation.items()}
        self._require_finite({**losses, **taught}, 'base pass')
        self._backward(self.objective.base_total(losses, distillation))
        return _numbers(losses), _numbers(distillation)

    def _backward(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss * self.share).backward()

    def _forward(self, batch: Batch, targets: Any, depth: DepthConfig | str) -> Any:
        precision = self.settings.autocast
        # Channels last is the layout in which CPU and GPU convolutions are fastest. With a single
        # image it is also the only right one: the CPU's batch norm (torch 2.13) gives wrong
        # gradients for an ordinary map whose gradient arrives as tokens.
        images = batch.images.contiguous(memory_format=torch.channels_last)
        images = images.to(next(self.network.parameters()).dtype) / 255
        with torch.autocast(images.device.type, dtype=precision, enabled=precision is not None):
            return self.network(images, depth, **self.objective.inputs(targets))

    def _require_finite(self, losses: Losses, where: str) -> None:
        """Raise in all processes if a loss is not finite in one."""
        finite = torch.stack([loss.detach() for loss in losses.values()]).isfinite()
        if not self.processes.any(not finite.all()):
            return
        mine = [name for name, good in zip(losses, finite.tolist()) if not good]
        bad = dict.fromkeys(name for names in self.processes.gather(mine) for name in names)
        raise FloatingPointError(
            f'the {where} gave a loss that is not finite ({", ".join(bad)}); '
            f'{_hint(self.settings)}'
        )


def _hint(settings: StepSettings) -> str:
    precision = ' or set precision: float32' if settings.autocast else ''
    return f'no weight was changed: lower the learning rate{precision}'


def _numbers(losses: Losses) -> dict[str, float]:
    """Terms as numbers, fetched from the device at once; ``total`` without the family's factor."""
    terms = {name: loss for name, loss in losses.items() if name != 'total'}
    values = torch.stack([loss.detach() for loss in terms.values()]).tolist()
    return {**dict(zip(terms, values)), 'total': sum(values)}


def _mean(losses: Sequence[StepLosses]) -> StepLosses:
    def part(items: Sequence[dict[str, float]]) -> dict[str, float]:
        return {name: sum(item[name] for item in items) / len(items) for name in items[0]}

    return StepLosses(
        part([each.full for each in losses]),
        part([each.base for each in losses]),
        part([each.distillation for each in losses]),
    )

"""One training step: a full pass, then a base pass that learns from it (arXiv 2605.09407)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anydepth_core.data.loader import Batch
from anydepth_core.models.detector import Detector, Losses
from anydepth_core.train.distributed import ALONE, Processes
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
    """

    clip_norm: float = 10.0
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class StepLosses:
    """Losses of one step: ground truth at full and base, distillation.

    Each holds the terms of the family and ``total``, their sum.
    """

    full: dict[str, float]
    base: dict[str, float]
    distillation: dict[str, float]


def any_depth_step(
    detector: Detector,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    settings: StepSettings,
    scaler: torch.amp.GradScaler | None = None,
    ema: Ema | None = None,
    rates: StepRates | None = None,
    base_batch: Batch | None = None,
    parallel: nn.Module | None = None,
    processes: Processes = ALONE,
) -> StepLosses:
    """Train on one batch: gradients of both passes add up, then one optimiser and one EMA step.

    Args:
        detector: the detector, in training mode.
        batch: images and ground truth, on the detector's device.
        optimizer: the optimiser.
        objective: what the detector's family learns.
        settings: precision and limit of the gradient.
        scaler: gradient scaler; needed with float16.
        ema: averaged weights to update.
        rates: learning rates of this step, None to leave the optimiser's.
        base_batch: what the base pass sees where the objective's ``same_view`` is False, for
            example the same images at another size; None for ``batch``.
        parallel: the detector as ``Processes.parallel`` wraps it: every backward pass then
            averages the gradients over the processes.
        processes: the processes that train together.

    Raises:
        FloatingPointError: if a loss, in any process, or the gradient is not finite; weights and
            averages are then unchanged. (A gradient beyond float16 only leaves the step out, as
            the scaler does.)
    """
    scaler = scaler or torch.amp.GradScaler(enabled=False)
    network = detector if parallel is None else parallel
    passes = _Passes(network, objective, settings, scaler, processes)
    optimizer.zero_grad(set_to_none=True)

    targets = objective.prepare(batch)
    full, teacher = passes.full(batch, targets)
    if not objective.same_view:
        batch = batch if base_batch is None else base_batch
        targets = objective.prepare(batch)
    base, distillation = passes.base(batch, targets, teacher)

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
    return StepLosses(full, base, distillation)


@dataclass(frozen=True)
class _Passes:
    """Both passes of one step, forward and backward; activations are freed on return."""

    network: nn.Module
    objective: Objective
    settings: StepSettings
    scaler: torch.amp.GradScaler
    processes: Processes

    def full(self, batch: Batch, targets: Any) -> tuple[dict[str, float], Any]:
        """Losses of the full pass, and what the base pass learns from."""
        raw = self._forward(batch, targets, 'full')
        try:
            losses, teacher = self.objective.full(raw, targets)
        except FloatingPointError:
            losses, teacher = _NOT_FINITE, None
        self._require_finite(losses, 'full pass')
        self.scaler.scale(losses['total']).backward()
        return _numbers(losses), teacher

    def base(
        self, batch: Batch, targets: Any, teacher: Any
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Losses of the base pass: ground truth, distillation."""
        raw = self._forward(batch, targets, 'base')
        try:
            losses, distillation = self.objective.base(raw, teacher, targets)
        except FloatingPointError:
            losses, distillation = _NOT_FINITE, {}
        taught = {f'distillation {name}': loss for name, loss in distillation.items()}
        self._require_finite({**losses, **taught}, 'base pass')
        self.scaler.scale(self.objective.base_total(losses, distillation)).backward()
        return _numbers(losses), _numbers(distillation)

    def _forward(self, batch: Batch, targets: Any, depth: str) -> Any:
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

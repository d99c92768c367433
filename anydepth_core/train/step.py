"""One training step: a full pass, then a base pass that learns from it (arXiv 2605.09407)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from anydepth_core.data.loader import Batch
from anydepth_core.models.detector import Detector
from anydepth_core.models.yolov12.assigner import Assignment, pad_targets, PaddedTargets
from anydepth_core.models.yolov12.criterion import detection_loss, Losses
from anydepth_core.models.yolov12.predictions import (
    DensePredictions,
    FlatPredictions,
    flatten,
)
from anydepth_core.train.distill import distillation_loss
from anydepth_core.train.ema import Ema
from anydepth_core.train.optim import set_rates, StepRates
from anydepth_core.train.settings import LossSettings


@dataclass(frozen=True)
class StepSettings:
    """What one step does.

    Attributes:
        loss: weights of the losses.
        clip_norm: largest norm of the gradient.
        autocast: run both passes in this half precision (the losses stay in float32); None for
            float32.
    """

    loss: LossSettings = field(default_factory=LossSettings)
    clip_norm: float = 10.0
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class StepLosses:
    """Losses of one step: ground truth at full and base, distillation; each with ``total``."""

    full: dict[str, float]
    base: dict[str, float]
    distillation: dict[str, float]


@dataclass
class _Pass:
    raw: DensePredictions
    flat: FlatPredictions
    losses: Losses
    assignment: Assignment


def any_depth_step(
    detector: Detector,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    settings: StepSettings,
    scaler: torch.amp.GradScaler | None = None,
    ema: Ema | None = None,
    rates: StepRates | None = None,
) -> StepLosses:
    """Train on one batch: gradients of both passes add up, then one optimiser and one EMA step.

    Args:
        detector: the detector, in training mode.
        batch: images and ground truth, on the detector's device.
        optimizer: the optimiser.
        settings: weights of the losses and precision.
        scaler: gradient scaler; needed with float16.
        ema: averaged weights to update.
        rates: learning rates of this step, None to leave the optimiser's.

    Raises:
        FloatingPointError: if a loss is not finite; weights and averages are then unchanged.
    """
    scaler = scaler or torch.amp.GradScaler(enabled=False)
    images = batch.images.to(next(detector.parameters()).dtype) / 255
    targets = pad_targets(batch.image_index, batch.labels, batch.boxes_xyxy_px, len(images))
    optimizer.zero_grad(set_to_none=True)

    full = _run(detector, images, targets, 'full', settings)
    _require_finite(full.losses, 'full pass', settings)
    scaler.scale(full.losses['total']).backward()
    full.flat, full_features = full.flat.detach(), [f.detach() for f in full.raw.features]

    base = _run(detector, images, targets, 'base', settings)
    distilled = distillation_loss(
        base.flat,
        full.flat,
        base.assignment,
        full.assignment,
        [f.float() for f in base.raw.features],
        [f.float() for f in full_features],
        settings.loss.distillation,
    )
    _require_finite({**base.losses, 'distillation': distilled['total']}, 'base pass', settings)
    alpha = settings.loss.alpha_base
    scaler.scale(alpha * base.losses['total'] + (1 - alpha) * distilled['total']).backward()

    if rates is not None:
        set_rates(optimizer, rates)
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(detector.parameters(), settings.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    if ema is not None:
        ema.update(detector)
    return StepLosses(*(_numbers(losses) for losses in (full.losses, base.losses, distilled)))


def _run(
    detector: Detector,
    images: torch.Tensor,
    targets: PaddedTargets,
    depth: str,
    settings: StepSettings,
) -> _Pass:
    precision = settings.autocast
    with torch.autocast(images.device.type, dtype=precision, enabled=precision is not None):
        raw = detector(images, depth)
    flat = flatten(raw)
    losses, assignment = detection_loss(flat, targets, settings.loss.detection)
    return _Pass(raw, flat, losses, assignment)


def _require_finite(losses: Losses, where: str, settings: StepSettings) -> None:
    bad = [name for name, value in losses.items() if not torch.isfinite(value)]
    if bad:
        hint = 'lower the learning rate' + (
            ' or set precision: float32' if settings.autocast else ''
        )
        raise FloatingPointError(
            f'the {where} gave a loss that is not finite ({", ".join(bad)}); '
            f'no weight was changed: {hint}'
        )


def _numbers(losses: Losses) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}

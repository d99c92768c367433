"""What a YOLOv12 learns in one step (arXiv 2605.09407)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from anydepth_core.data.loader import Batch
from anydepth_core.models.yolov12.assigner import Assignment, pad_targets, PaddedTargets
from anydepth_core.models.yolov12.criterion import (
    at_least_one,
    detection_loss,
    DetectionGains,
    Losses,
)
from anydepth_core.models.yolov12.distill import distillation_loss, DistillationSettings
from anydepth_core.models.yolov12.predictions import (
    DensePredictions,
    FlatPredictions,
    flatten,
)
from anydepth_core.nn.precision import at_least_float32


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses.

    Attributes:
        alpha_base: weight of the ground truth in the base pass; the distillation has the rest.
        detection: weights of the detection loss.
        distillation: temperatures and weights of the distillation loss.
    """

    alpha_base: float = 0.2
    detection: DetectionGains = field(default_factory=DetectionGains)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)


@dataclass(frozen=True)
class Teacher:
    """What the base pass learns from the full one, without gradient.

    Attributes:
        flat: predictions.
        assignment: which targets the cells learnt.
        features: pooled stage outputs, each (B, C).
    """

    flat: FlatPredictions
    assignment: Assignment
    features: list[torch.Tensor]


class Yolov12Objective:
    """Detection loss of both passes and distillation; see ``anydepth_core.train.objective``.

    Args:
        settings: weights of the losses.
        normaliser: what the sums are divided by, from the number that these images give, see
            ``Processes.normaliser``.
    """

    same_view, grows = True, True

    def __init__(
        self,
        settings: LossSettings,
        normaliser: Callable[[torch.Tensor], torch.Tensor] = at_least_one,
    ) -> None:
        self.settings = settings
        self.normaliser = normaliser

    def set_step(self, epoch: int, step: int) -> None:
        """Nothing is drawn by chance."""

    def prepare(self, batch: Batch) -> PaddedTargets:
        """Group the targets by image."""
        return pad_targets(batch.image_index, batch.labels, batch.boxes_xyxy_px, len(batch))

    def inputs(self, targets: PaddedTargets) -> dict[str, Any]:
        """Nothing besides the images."""
        return {}

    def full(self, raw: DensePredictions, targets: PaddedTargets) -> tuple[Losses, Teacher]:
        """Compute the detection loss of the full pass: ``box``, ``cls``, ``dfl``, ``total``."""
        flat = flatten(raw)
        losses, assignment = self._detection(flat, targets)
        features = [feature.detach() for feature in _precise(raw.features)]
        return losses, Teacher(flat.detach(), assignment, features)

    def base(
        self, raw: DensePredictions, teacher: Teacher, targets: PaddedTargets
    ) -> tuple[Losses, Losses]:
        """Compute detection loss and distillation (``box``, ``cls``, ``dfl``, ``feat``)."""
        flat = flatten(raw)
        losses, assignment = self._detection(flat, targets)
        distillation = distillation_loss(
            flat,
            teacher.flat,
            assignment,
            teacher.assignment,
            _precise(raw.features),
            teacher.features,
            self.settings.distillation,
            self.normaliser,
        )
        return losses, distillation

    def base_total(self, losses: Losses, distillation: Losses) -> torch.Tensor:
        """``alpha_base`` of the ground truth, the rest of the distillation."""
        alpha = self.settings.alpha_base
        return alpha * losses['total'] + (1 - alpha) * distillation['total']

    def _detection(
        self, flat: FlatPredictions, targets: PaddedTargets
    ) -> tuple[Losses, Assignment]:
        return detection_loss(flat, targets, self.settings.detection, self.normaliser)


def _precise(features: list[torch.Tensor]) -> list[torch.Tensor]:
    """Turn half precision into float32, because the losses need its range."""
    return [at_least_float32(feature) for feature in features]

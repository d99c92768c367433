"""Self-distillation: the full depth teaches the base depth (arXiv 2605.09407)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from anydepth_core.models.detector import Losses
from anydepth_core.models.yolov12.assigner import Assignment
from anydepth_core.models.yolov12.criterion import at_least_one, sum_losses
from anydepth_core.models.yolov12.predictions import FlatPredictions
from anydepth_core.nn.boxes import complete_iou

COMPARED_MAPS = (1, 2, 4, 5, 6)
"""Indices into ``stage_maps``: strides 16 and 32 of the backbone, 8, 16 and 32 of the neck."""


@dataclass(frozen=True)
class DistillationSettings:
    """Temperatures and weights of the distillation loss.

    Attributes:
        temperature_cls: temperature of the class term.
        temperature_dfl: temperature of the distribution term.
        box: weight of 1 - CIoU between the boxes of both passes.
        cls: weight of the class term.
        dfl: weight of the distribution term.
        feat: weight of the feature term.
    """

    temperature_cls: float = 2.0
    temperature_dfl: float = 10.0
    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5
    feat: float = 0.1


PRESETS = {
    'finetune': DistillationSettings(),
    'coco_l': DistillationSettings(temperature_dfl=1.0, box=1.2, cls=0.4, dfl=0.8, feat=0.4),
}
"""The two published weightings: fine-tuning and the COCO run of scale l."""


def distillation_loss(
    base: FlatPredictions,
    full: FlatPredictions,
    base_assignment: Assignment,
    full_assignment: Assignment,
    base_features: Sequence[torch.Tensor],
    full_features: Sequence[torch.Tensor],
    settings: DistillationSettings,
    normaliser: Callable[[torch.Tensor], torch.Tensor] = at_least_one,
) -> Losses:
    """Loss of the base pass against the full pass.

    Args:
        base: predictions of the base pass.
        full: predictions of the full pass; no gradient flows into them.
        base_assignment: assignment of the base pass.
        full_assignment: assignment of the full pass; its target scores weight the cells.
        base_features: pooled stage outputs of the base pass, each (B, C).
        full_features: those of the full pass.
        settings: temperatures and weights.
        normaliser: what the sums are divided by, from the number that these images give, see
            ``Processes.normaliser``.

    Returns:
        ``box``, ``cls``, ``dfl``, ``feat`` with their weights, and ``total`` = their sum times the
        batch size.
    """
    full = full.detach()
    common = full_assignment.foreground & base_assignment.foreground
    conflict = common & (full_assignment.target_index != base_assignment.target_index)
    taught = full_assignment.foreground & ~conflict
    agreed = common & ~conflict
    weight = full_assignment.weight

    def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return (values * weights).sum() / normaliser(weights.sum())

    divergence = _divergence(
        full.class_logits[taught], base.class_logits[taught], settings.temperature_cls
    )
    cls = weighted_mean(divergence, weight[taught]) * settings.temperature_cls**2
    iou = complete_iou(base.boxes_xyxy_cells[agreed], full.boxes_xyxy_cells[agreed])
    sides = _divergence(
        full.box_logits[agreed].unflatten(-1, (4, -1)),
        base.box_logits[agreed].unflatten(-1, (4, -1)),
        settings.temperature_dfl,
    )
    losses = {
        'box': settings.box * weighted_mean(1 - iou, weight[agreed]),
        'cls': settings.cls * cls,
        'dfl': settings.dfl * weighted_mean(sides.mean(-1), weight[agreed]),
        'feat': settings.feat * feature_distance(base_features, full_features),
    }
    losses['total'] = sum_losses(losses) * len(weight)
    return losses


def feature_distance(
    base_features: Sequence[torch.Tensor], full_features: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Mean squared distance of the normalised pooled features of the compared stages."""
    distances = [
        (F.normalize(full_features[i].detach(), dim=1) - F.normalize(base_features[i], dim=1))
        .square()
        .sum(1)
        .mean()
        for i in COMPARED_MAPS
    ]
    return torch.stack(distances).mean()


def _divergence(teacher: torch.Tensor, student: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) over the last axis at a temperature."""
    teacher_log = (teacher / temperature).log_softmax(-1)
    student_log = (student / temperature).log_softmax(-1)
    return F.kl_div(student_log, teacher_log, reduction='none', log_target=True).sum(-1)

"""Self-distillation of RT-DETR: the full depth teaches the base depth (arXiv 2605.09407)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from anydepth_core.models.detector import Losses
from anydepth_core.models.rtdetr.criterion import box_sums
from anydepth_core.models.rtdetr.matcher import Pairs
from anydepth_core.models.rtdetr.predictions import LayerPredictions
from anydepth_core.nn.precision import at_least_float32


@dataclass(frozen=True)
class DistillationSettings:
    """Form and weights of the distillation terms.

    Attributes:
        class_form: how the class logits of two queries are compared. ``softmax``, published:
            one distribution over all classes, times queries / classes. It sees neither the height
            of a score (adding a constant to all logits changes nothing) nor a single class, and
            weighs 27 times more on 3 classes than on 80. ``binary``: each class for itself, as
            the head is trained (arXiv 2308.14286); the base should give the teacher's scores, not
            only its order of classes, with any number of classes.
        vfl: weight of the class term.
        bbox: weight of the L1 distance of the boxes.
        giou: weight of 1 - GIoU.
        backbone: weight of the term on the backbone's pooled maps.
        neck: weight of the term on the neck's pooled maps.
        batch1_over_channels: divide the feature terms of a batch of one image by the number of
            channels too, as the published code does by accident; otherwise such a batch weighs as
            much per image as any other.
    """

    class_form: str = 'binary'
    vfl: float = 1.0
    bbox: float = 5.0
    giou: float = 2.0
    backbone: float = 1.0
    neck: float = 1.0
    batch1_over_channels: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown forms."""
        if self.class_form not in CLASS_FORMS:
            raise ValueError(
                f'class_form is {self.class_form!r}; allowed: {", ".join(CLASS_FORMS)}'
            )


@dataclass(frozen=True)
class PooledMaps:
    """Globally average-pooled maps in float32 or better.

    Attributes:
        backbone: (B, C) C3, C4, C5 side by side.
        neck: (B, C) P3, P4, P5 side by side.
    """

    backbone: torch.Tensor
    neck: torch.Tensor


@dataclass(frozen=True)
class Teacher:
    """What the base pass learns from the full pass, without gradient.

    Attributes:
        last: last decoder layer.
        pairs: its matching with the ground truth.
        maps: pooled maps.
    """

    last: LayerPredictions
    pairs: Pairs
    maps: PooledMaps


def pool(stage_maps: Sequence[torch.Tensor]) -> PooledMaps:
    """Pool C3, C4, C5, P3, P4, P5, each (B, C, H, W)."""
    pooled = [at_least_float32(each).mean((2, 3)) for each in stage_maps]
    return PooledMaps(torch.cat(pooled[:3], 1), torch.cat(pooled[3:], 1))


def teacher_of(last: LayerPredictions, pairs: Pairs, maps: PooledMaps) -> Teacher:
    """Detach what the full pass teaches."""
    return Teacher(
        LayerPredictions(last.logits.detach(), last.boxes.detach()),
        pairs,
        PooledMaps(maps.backbone.detach(), maps.neck.detach()),
    )


def distillation_losses(
    last: LayerPredictions,
    pairs: Pairs,
    maps: PooledMaps,
    teacher: Teacher,
    normaliser: torch.Tensor,
    settings: DistillationSettings,
) -> Losses:
    """Loss of the base pass against the full pass.

    A base query learns from the full pass's query that took the same target.

    Args:
        last: last decoder layer of the base pass, in float32 or better.
        pairs: its matching with the ground truth.
        maps: pooled maps of the base pass.
        teacher: the full pass.
        normaliser: () number that the sums over queries are divided by.
        settings: form and weights.

    Returns:
        ``loss_vfl_kd``, ``loss_bbox_kd``, ``loss_giou_kd``, ``loss_features_backbone_kd``,
        ``loss_features_encoder_kd`` with their weights.
    """
    base_rows, full_rows = common_targets(pairs, teacher.pairs)
    pairs, full_pairs = pairs.select(base_rows), teacher.pairs.select(full_rows)
    label = CLASS_FORMS[settings.class_form](
        pairs.of(last.logits), full_pairs.of(teacher.last.logits), last.logits.shape[1]
    )
    distance, separation = box_sums(pairs.of(last.boxes), full_pairs.of(teacher.last.boxes))
    over_channels = settings.batch1_over_channels
    backbone = feature_divergence(maps.backbone, teacher.maps.backbone, over_channels)
    neck = feature_divergence(maps.neck, teacher.maps.neck, over_channels)
    normaliser = normaliser.to(last.logits.dtype)
    return {
        'loss_vfl_kd': settings.vfl * label / normaliser,
        'loss_bbox_kd': settings.bbox * distance / normaliser,
        'loss_giou_kd': settings.giou * separation / normaliser,
        'loss_features_backbone_kd': settings.backbone * backbone,
        'loss_features_encoder_kd': settings.neck * neck,
    }


def common_targets(base: Pairs, full: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of both matchings that belong to the same targets; all unless queries ran short."""
    base_rows, full_rows = (base.target.unsqueeze(1) == full.target).nonzero().unbind(1)
    return base_rows, full_rows


def softmax_divergence(base: torch.Tensor, full: torch.Tensor, queries: int) -> torch.Tensor:
    """Sum of KL(full || base) of the softmax of (P, C) logits, times queries / C (published)."""
    return _softmax_kl(base, full) * (queries / base.shape[1])


def binary_divergence(base: torch.Tensor, full: torch.Tensor, queries: int) -> torch.Tensor:
    """Sum of KL(full || base) of each class score of (P, C) logits (arXiv 2308.14286)."""
    target = full.sigmoid()
    cross = F.binary_cross_entropy_with_logits(base, target, reduction='none')
    entropy = F.binary_cross_entropy_with_logits(full, target, reduction='none')
    return (cross - entropy).sum()


CLASS_FORMS = {'binary': binary_divergence, 'softmax': softmax_divergence}
"""Comparisons of class logits by the name that the settings use."""


def feature_divergence(
    base: torch.Tensor, full: torch.Tensor, batch1_over_channels: bool = False
) -> torch.Tensor:
    """Mean over images of KL(full || base) of the softmax over pooled channels (B, C)."""
    images, channels = base.shape
    per_channel = batch1_over_channels and images == 1
    return _softmax_kl(base, full) / (channels if per_channel else images)


def _softmax_kl(base: torch.Tensor, full: torch.Tensor) -> torch.Tensor:
    return F.kl_div(base.log_softmax(1), full.log_softmax(1), reduction='sum', log_target=True)

"""Ground-truth loss of RT-DETR: varifocal, L1 and GIoU terms (arXiv 2304.08069)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from anydepth_core.models.detector import Losses
from anydepth_core.models.rtdetr.matcher import GroundTruth, Pairs
from anydepth_core.models.rtdetr.predictions import DetrPredictions, LayerPredictions
from anydepth_core.nn.boxes import cxcywh_to_xyxy, generalized_iou, plain_iou
from anydepth_core.nn.precision import at_least_float32


@dataclass(frozen=True)
class TruthWeights:
    """Weights of the terms against the ground truth.

    Attributes:
        vfl: weight of the varifocal class term (arXiv 2008.13367).
        bbox: weight of the L1 distance of the boxes.
        giou: weight of 1 - GIoU.
        alpha: weight of a class that is not there, before ``gamma`` lowers it.
        gamma: exponent of the score of a class that is not there.
    """

    vfl: float = 1.0
    bbox: float = 5.0
    giou: float = 2.0
    alpha: float = 0.75
    gamma: float = 2.0


def precise(predictions: LayerPredictions) -> LayerPredictions:
    """Turn half precision into float32, because the losses need its range; float64 stays."""
    return LayerPredictions(
        at_least_float32(predictions.logits), at_least_float32(predictions.boxes)
    )


def matched_sets(raw: DetrPredictions) -> dict[str, LayerPredictions]:
    """Prediction sets that are matched with the ground truth, in float32 or better.

    Returns:
        By the suffix of their terms: the last decoder layer (no suffix), the layers before it
        (``_aux_0`` ...) and, with the last ``_aux_`` number, the selected encoder tokens.
    """
    auxiliary = [*raw.layers[:-1], raw.proposals]
    sets = {'': raw.layers[-1]} | {f'_aux_{i}': each for i, each in enumerate(auxiliary)}
    return {suffix: precise(each) for suffix, each in sets.items()}


def denoising_sets(raw: DetrPredictions) -> dict[str, LayerPredictions]:
    """Denoising queries of every decoder layer, by the suffix of their terms (``_dn_0`` ...)."""
    return {f'_dn_{i}': precise(each) for i, each in enumerate(raw.denoising)}


def truth_losses(
    predictions: LayerPredictions,
    truth: GroundTruth,
    pairs: Pairs,
    normaliser: torch.Tensor,
    weights: TruthWeights,
    suffix: str = '',
) -> Losses:
    """Loss of one prediction set against the ground truth.

    Args:
        predictions: the set, in float32 or better.
        truth: ground truth; there may be none.
        pairs: which query learns which target; all other queries learn the background.
        normaliser: () number that the sums are divided by.
        weights: weights of the terms.
        suffix: end of the names.

    Returns:
        ``loss_vfl``, ``loss_bbox``, ``loss_giou`` with their weights; each depends on the
        predictions even where there is no pair.
    """
    dtype = predictions.boxes.dtype
    boxes, targets = pairs.of(predictions.boxes), truth.boxes_cxcywh.to(dtype)[pairs.target]
    with torch.no_grad():
        quality = plain_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    label = varifocal_sum(predictions.logits, pairs, truth.labels[pairs.target], quality, weights)
    distance, separation = box_sums(boxes, targets)
    normaliser = normaliser.to(dtype)
    return {
        f'loss_vfl{suffix}': weights.vfl * label / normaliser,
        f'loss_bbox{suffix}': weights.bbox * distance / normaliser,
        f'loss_giou{suffix}': weights.giou * separation / normaliser,
    }


def varifocal_sum(
    logits: torch.Tensor,
    pairs: Pairs,
    labels: torch.Tensor,
    quality: torch.Tensor,
    weights: TruthWeights,
) -> torch.Tensor:
    """Sum of the varifocal loss over all queries and classes (arXiv 2008.13367).

    The score of a pair's class learns the overlap of its box, weighted with that overlap. Every
    other score learns 0, weighted with alpha * score^gamma.

    Args:
        logits: (B, Q, C).
        pairs: P pairs.
        labels: (P,) class of each pair.
        quality: (P,) overlap of predicted and true box in 0..1, without gradient.
        weights: alpha and gamma.
    """
    where = (pairs.image, pairs.query, labels)
    target = torch.zeros_like(logits).index_put(where, quality)
    absent = weights.alpha * logits.detach().sigmoid() ** weights.gamma
    weight = absent.index_put(where, quality)
    return F.binary_cross_entropy_with_logits(logits, target, weight, reduction='sum')


def box_sums(
    boxes_cxcywh: torch.Tensor, targets_cxcywh: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the L1 distance, and 1 - GIoU, over P pairs of boxes (P, 4)."""
    overlap = generalized_iou(cxcywh_to_xyxy(boxes_cxcywh), cxcywh_to_xyxy(targets_cxcywh))
    return (boxes_cxcywh - targets_cxcywh).abs().sum(), (1 - overlap).sum()

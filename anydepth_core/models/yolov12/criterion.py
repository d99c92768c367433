"""Detection loss of one pass: box, class and distribution terms (GFL, arXiv 2006.04388)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from anydepth_core.models.detector import Losses
from anydepth_core.models.yolov12.assigner import assign, Assignment, PaddedTargets
from anydepth_core.models.yolov12.predictions import FlatPredictions
from anydepth_core.nn.boxes import complete_iou


@dataclass(frozen=True)
class DetectionGains:
    """Weights of the terms of the detection loss.

    Attributes:
        box: weight of 1 - CIoU.
        cls: weight of the class term.
        dfl: weight of the distribution term.
    """

    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5


def at_least_one(number: torch.Tensor) -> torch.Tensor:
    """Normaliser where there is one process."""
    return number.clamp(min=1)


def detection_loss(
    predictions: FlatPredictions,
    targets: PaddedTargets,
    gains: DetectionGains,
    normaliser: Callable[[torch.Tensor], torch.Tensor] = at_least_one,
) -> tuple[Losses, Assignment]:
    """Loss of one pass against the ground truth.

    Args:
        predictions: predictions of the pass.
        targets: ground truth.
        gains: weights of the terms.
        normaliser: what the sums are divided by, from the number that these images give, see
            ``Processes.normaliser``.

    Returns:
        ``box``, ``cls``, ``dfl`` with their gains, and ``total`` = their sum times the batch size;
        the assignment.
    """
    assignment = assign(predictions, targets)
    divisor = normaliser(assignment.weight.sum())
    scores = torch.zeros_like(predictions.class_logits)
    scores.scatter_(-1, assignment.labels.unsqueeze(-1), assignment.weight.unsqueeze(-1))
    cls = F.binary_cross_entropy_with_logits(predictions.class_logits, scores, reduction='sum')
    box, dfl = _box_terms(predictions, assignment)
    losses = {
        'box': gains.box * box / divisor,
        'cls': gains.cls * cls / divisor,
        'dfl': gains.dfl * dfl / divisor,
    }
    losses['total'] = sum_losses(losses) * len(predictions.class_logits)
    return losses, assignment


def sum_losses(losses: Losses) -> torch.Tensor:
    """Sum of all terms."""
    return torch.stack(list(losses.values())).sum()


def _box_terms(
    predictions: FlatPredictions, assignment: Assignment
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sums of 1 - CIoU and of the distribution term over the foreground.

    They depend on the predictions even where there is no foreground: of several processes each
    then has every gradient that another waits for.
    """
    foreground = assignment.foreground
    weight = assignment.weight[foreground]
    target_cells = (assignment.boxes_xyxy_px / predictions.strides)[foreground]
    iou = complete_iou(predictions.boxes_xyxy_cells[foreground], target_cells)
    points = predictions.points.expand(len(foreground), -1, -1)[foreground]
    sides = torch.cat((points - target_cells[:, :2], target_cells[:, 2:] - points), -1)
    dfl = two_bin_cross_entropy(predictions.box_logits[foreground], sides)
    return ((1 - iou) * weight).sum(), (dfl * weight).sum()


def two_bin_cross_entropy(box_logits: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """Cross entropy against the two bins around each true side distance, mean over the four sides.

    Args:
        box_logits: (N, 4 * bins).
        sides: (N, 4) true distances in cells, clamped to the range of the bins.

    Returns:
        (N,) losses.
    """
    bins = box_logits.shape[-1] // 4
    sides = sides.clamp(0, bins - 1 - 0.01)
    lower = sides.long()
    upper_weight = sides - lower
    log_probabilities = box_logits.unflatten(-1, (4, bins)).log_softmax(-1)
    at_lower = log_probabilities.gather(-1, lower.unsqueeze(-1)).squeeze(-1)
    at_upper = log_probabilities.gather(-1, lower.unsqueeze(-1) + 1).squeeze(-1)
    return -(at_lower * (1 - upper_weight) + at_upper * upper_weight).mean(-1)

"""Task-aligned assignment of targets to cells (TOOD, arXiv 2108.07755)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anydepth_core.models.yolov12.predictions import FlatPredictions
from anydepth_core.nn.boxes import complete_iou


@dataclass
class PaddedTargets:
    """Targets of a batch, padded to the largest count.

    Attributes:
        labels: (B, M) int64, 0 where there is no target.
        boxes_xyxy_px: (B, M, 4) in input pixels.
        valid: (B, M) bool, False where there is no target.
    """

    labels: torch.Tensor
    boxes_xyxy_px: torch.Tensor
    valid: torch.Tensor


@dataclass
class Assignment:
    """Which target every cell learns.

    Attributes:
        foreground: (B, A) bool.
        target_index: (B, A) int64 index of the target among those of its image, 0 in the
            background.
        weight: (B, A) target score of the cell, 0 in the background.
        labels: (B, A) int64 class of the target.
        boxes_xyxy_px: (B, A, 4) box of the target in input pixels.
    """

    foreground: torch.Tensor
    target_index: torch.Tensor
    weight: torch.Tensor
    labels: torch.Tensor
    boxes_xyxy_px: torch.Tensor


def pad_targets(
    image_index: torch.Tensor, labels: torch.Tensor, boxes_xyxy_px: torch.Tensor, batch_size: int
) -> PaddedTargets:
    """Group flat targets by image.

    Args:
        image_index: (N,) int64 image of each target, in any order; the order inside an image is
            kept.
        labels: (N,) int64.
        boxes_xyxy_px: (N, 4).
        batch_size: number of images.
    """
    counts = torch.bincount(image_index, minlength=batch_size)
    most = int(counts.max()) if len(image_index) else 0
    padded = PaddedTargets(
        labels.new_zeros(batch_size, most),
        boxes_xyxy_px.new_zeros(batch_size, most, 4),
        torch.zeros(batch_size, most, dtype=torch.bool, device=labels.device),
    )
    order = torch.argsort(image_index, stable=True)
    starts = torch.cumsum(counts, 0) - counts
    rows = image_index[order]
    columns = torch.arange(len(order), device=labels.device) - starts[rows]
    padded.labels[rows, columns] = labels[order]
    padded.boxes_xyxy_px[rows, columns] = boxes_xyxy_px[order]
    padded.valid[rows, columns] = True
    return padded


@torch.no_grad()
def assign(
    predictions: FlatPredictions,
    targets: PaddedTargets,
    candidates_per_target: int = 10,
    score_power: float = 0.5,
    overlap_power: float = 6.0,
) -> Assignment:
    """Give each target its best-aligned cells.

    A cell is a candidate if its centre lies inside the target. Alignment is score^0.5 * overlap^6
    with the score of the target's class and overlap = max(CIoU, 0). A cell taken by several
    targets goes to the one it overlaps most. The target score of a cell is its alignment, scaled
    so that the best cell of a target gets the target's largest overlap.

    Args:
        predictions: predictions of the batch.
        targets: targets of the batch.
        candidates_per_target: cells that a target takes at most.
        score_power: exponent of the score.
        overlap_power: exponent of the overlap.
    """
    batch, cells = predictions.class_logits.shape[:2]
    if targets.labels.shape[1] == 0:
        zeros = predictions.class_logits.new_zeros(batch, cells)
        index = torch.zeros_like(zeros, dtype=torch.int64)
        return Assignment(zeros.bool(), index, zeros, index, zeros.unsqueeze(-1).expand(-1, -1, 4))
    candidates = _inside(predictions, targets)
    overlaps = _overlaps(predictions, targets) * candidates
    alignment = _class_scores(predictions, targets) ** score_power * overlaps**overlap_power
    positive = _best(alignment.masked_fill(~candidates, -1), candidates_per_target) & candidates
    positive = _one_target_per_cell(positive, overlaps)

    alignment, overlaps = alignment * positive, overlaps * positive
    scale = overlaps.amax(-1, keepdim=True) / (alignment.amax(-1, keepdim=True) + 1e-9)
    target_index = positive.long().argmax(1)
    rows = torch.arange(batch, device=target_index.device).unsqueeze(1)
    return Assignment(
        positive.any(1),
        target_index,
        (alignment * scale).amax(1),
        targets.labels[rows, target_index],
        targets.boxes_xyxy_px[rows, target_index],
    )


def _inside(predictions: FlatPredictions, targets: PaddedTargets) -> torch.Tensor:
    """(B, M, A): the cell centre lies inside the target."""
    points = (predictions.points * predictions.strides).view(1, 1, -1, 2)
    left_top, right_bottom = targets.boxes_xyxy_px.unsqueeze(2).chunk(2, -1)
    sides = torch.cat((points - left_top, right_bottom - points), -1)
    return (sides.amin(-1) > 1e-9) & targets.valid.unsqueeze(-1)


def _overlaps(predictions: FlatPredictions, targets: PaddedTargets) -> torch.Tensor:
    """(B, M, A): CIoU of every target with every predicted box, at least 0."""
    boxes = (predictions.boxes_xyxy_cells * predictions.strides).unsqueeze(1)
    return complete_iou(targets.boxes_xyxy_px.unsqueeze(2), boxes).clamp(min=0)


def _class_scores(predictions: FlatPredictions, targets: PaddedTargets) -> torch.Tensor:
    """(B, M, A): score of the target's class in every cell."""
    scores = predictions.class_logits.sigmoid().transpose(1, 2)
    index = targets.labels.unsqueeze(-1).expand(-1, -1, scores.shape[2])
    return scores.gather(1, index)


def _best(alignment: torch.Tensor, count: int) -> torch.Tensor:
    """(B, M, A): the cell is among the best ``count`` of the target."""
    chosen = alignment.topk(min(count, alignment.shape[-1]), dim=-1).indices
    return torch.zeros_like(alignment, dtype=torch.bool).scatter_(-1, chosen, True)


def _one_target_per_cell(positive: torch.Tensor, overlaps: torch.Tensor) -> torch.Tensor:
    """Give cells with several targets to the target they overlap most."""
    contested = positive.sum(1, keepdim=True) > 1
    winner = torch.zeros_like(positive).scatter_(1, overlaps.argmax(1, keepdim=True), True)
    return torch.where(contested, winner, positive)

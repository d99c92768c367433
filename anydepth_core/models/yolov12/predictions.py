"""Raw predictions in the form that the losses read."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anydepth_core.models.detector import RawPredictions
from anydepth_core.nn.boxes import anchor_points, distances_to_xyxy, side_distances


@dataclass
class FlatPredictions:
    """All cells of all levels in one row, in float32 or better.

    Attributes:
        box_logits: (B, A, 4 * bins) side distributions.
        class_logits: (B, A, num_classes).
        boxes_xyxy_cells: (B, A, 4) decoded boxes in cells of their own level.
        points: (A, 2) cell centres in cells of their own level.
        strides: (A, 1) input pixels per cell.
    """

    box_logits: torch.Tensor
    class_logits: torch.Tensor
    boxes_xyxy_cells: torch.Tensor
    points: torch.Tensor
    strides: torch.Tensor

    def detach(self) -> FlatPredictions:
        """Return the same values without gradient."""
        return FlatPredictions(
            self.box_logits.detach(),
            self.class_logits.detach(),
            self.boxes_xyxy_cells.detach(),
            self.points,
            self.strides,
        )


def flatten(raw: RawPredictions) -> FlatPredictions:
    """Flatten the levels; half precision becomes float32 because the losses need its range."""
    dtype = torch.promote_types(raw.levels[0].dtype, torch.float32)
    levels = [level.to(dtype) for level in raw.levels]
    flat = torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2)
    split = 4 * len(raw.bins)
    points, strides = anchor_points(levels, raw.strides)
    box_logits = flat[..., :split]
    distances = side_distances(box_logits, raw.bins.to(dtype))
    boxes = distances_to_xyxy(distances, points)
    return FlatPredictions(box_logits, flat[..., split:], boxes, points, strides)

"""Raw predictions of the dense head, and the form of them that the losses read."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anydepth_core.models.detector import RawPredictions
from anydepth_core.nn.boxes import (
    anchor_points,
    decode_levels,
    distances_to_xyxy,
    side_distances,
)


@dataclass
class DensePredictions(RawPredictions):
    """Output of a dense detector.

    Attributes:
        levels: one (B, 4 * bins + num_classes, H, W) per stride: box side distributions, then
            class logits.
        stage_maps: outputs of the stages that the distillation compares, each (B, C, H, W).
        strides: input pixels per cell of each level.
        bins: (bins,) distances, in cells, that the box distributions range over.
    """

    levels: list[torch.Tensor]
    stage_maps: list[torch.Tensor]
    strides: tuple[int, ...]
    bins: torch.Tensor

    @property
    def outputs(self) -> dict[str, torch.Tensor]:
        """Boxes (B, 4, A) and scores (B, num_classes, A)."""
        boxes, scores = decode_levels(self.levels, self.strides, self.bins)
        return {'boxes': boxes, 'scores': scores}

    @property
    def features(self) -> list[torch.Tensor]:
        """Globally average-pooled ``stage_maps``, each (B, C)."""
        return [stage_map.mean((2, 3)) for stage_map in self.stage_maps]


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


def flatten(raw: DensePredictions) -> FlatPredictions:
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

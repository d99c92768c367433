"""What every any-depth detector is and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from anydepth_core.depth import DepthConfig, DepthSpace
from anydepth_core.nn.boxes import decode_levels


@dataclass
class RawPredictions:
    """Output of a dense detector before any postprocessing.

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

    @cached_property
    def decoded(self) -> torch.Tensor:
        """(B, 4 + num_classes, A): cx, cy, width, height in input pixels, then sigmoid scores."""
        return torch.cat(tuple(self.outputs.values()), 1)

    @property
    def outputs(self) -> dict[str, torch.Tensor]:
        """Boxes (B, 4, A) and scores (B, num_classes, A): what an exported model returns."""
        boxes, scores = decode_levels(self.levels, self.strides, self.bins)
        return {'boxes': boxes, 'scores': scores}

    @property
    def features(self) -> list[torch.Tensor]:
        """Globally average-pooled ``stage_maps``, each (B, C)."""
        return [stage_map.mean((2, 3)) for stage_map in self.stage_maps]


class Detector(nn.Module):
    """Base class of all any-depth detectors.

    Attributes:
        name: model name as given to ``build_detector``.
        variant: block layout.
        num_classes: number of classes.
        depth_space: every depth of this detector.
    """

    name: str
    variant: str
    num_classes: int
    depth_space: DepthSpace

    def forward(self, images: torch.Tensor, depth: DepthConfig | str) -> RawPredictions:
        """Run the detector at one depth.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], H and W multiples of 32.
            depth: which refinements run.

        Raises:
            ValueError: if the depth is not legal for this detector, or H or W is no multiple of
                32.
        """
        raise NotImplementedError

    def stage_modules(self) -> list[nn.Module]:
        """Return the stages in ``depth_space`` order; each is called as ``stage(*maps, full)``."""
        raise NotImplementedError

    def features(self, images: torch.Tensor, depth: DepthConfig | str) -> list[torch.Tensor]:
        """Globally average-pooled stage outputs, each (B, C)."""
        return self(images, depth).features


def check_images(images: torch.Tensor, multiple: int = 32) -> None:
    """Refuse inputs whose shape the network cannot process.

    Raises:
        ValueError: if the shape is not (B, 3, H, W) with H and W positive multiples of
            ``multiple``.
    """
    shape: Sequence[int] = images.shape
    if (
        len(shape) != 4
        or shape[1] != 3
        or shape[2] % multiple
        or shape[3] % multiple
        or not min(shape)
    ):
        raise ValueError(
            f'images have shape {tuple(shape)}; they must be (B, 3, H, W) '
            f'with H and W multiples of {multiple}'
        )

"""What every any-depth detector is and returns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import nn

from anydepth_core.depth import DepthConfig, DepthSpace

Losses = dict[str, torch.Tensor]
"""Terms of a loss by name."""


class RawPredictions:
    """Output of a detector before any postprocessing; each family adds what its losses read.

    Attributes:
        stage_maps: outputs of the stages that the distillation compares, each (B, C, H, W).
    """

    stage_maps: list[torch.Tensor]

    @property
    def outputs(self) -> dict[str, torch.Tensor]:
        """What an exported model returns.

        ``boxes`` (B, 4, A): centre x, centre y, width, height in input pixels; ``scores``
        (B, num_classes, A) in [0, 1].
        """
        raise NotImplementedError

    @cached_property
    def decoded(self) -> torch.Tensor:
        """(B, 4 + num_classes, A): cx, cy, width, height in input pixels, then sigmoid scores."""
        return torch.cat(tuple(self.outputs.values()), 1)

    @property
    def features(self) -> list[torch.Tensor]:
        """What ``Detector.features`` returns."""
        raise NotImplementedError


class Detector(nn.Module):
    """Base class of all any-depth detectors.

    Attributes:
        name: model name as given to ``build_detector``.
        variant: block layout.
        num_classes: number of classes.
        depth_space: every depth of this detector.
        family: which objective trains it: ``yolov12`` or ``rtdetr``.
        resize: how its input is made from an image: ``letterbox`` or ``stretch``.
        suppression: what its boxes need before they are detections: ``class_nms`` or ``none``.
        training_only: names of weights that nothing but training uses.
    """

    name: str
    variant: str
    num_classes: int
    depth_space: DepthSpace
    family: ClassVar[str]
    resize: ClassVar[str]
    suppression: ClassVar[str]
    training_only: ClassVar[tuple[str, ...]] = ()

    def forward(
        self, images: torch.Tensor, depth: DepthConfig | str, **inputs: Any
    ) -> RawPredictions:
        """Run the detector at one depth.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], H and W multiples of 32.
            depth: which refinements run.
            inputs: what the objective of the family adds in training.

        Raises:
            ValueError: if the depth is not legal for this detector, or H or W is no multiple of
                32.
        """
        raise NotImplementedError

    def switched_modules(self) -> list[tuple[int, nn.Module]]:
        """Return the modules that a depth bit rules, in execution order.

        Each comes with the index of its stage in ``depth_space`` and is called as
        ``module(*maps, full)``.
        """
        raise NotImplementedError

    def decoder_modules(self) -> list[nn.Module]:
        """Return the decoder layers in execution order, none for a detector without a decoder.

        Each is called as ``layer(queries, boxes, ...)``, returns queries and boxes first, and its
        ``score_head`` makes class logits of the queries.
        """
        return []

    def features(self, images: torch.Tensor, depth: DepthConfig | str) -> list[torch.Tensor]:
        """Stage outputs that the distillation compares.

        YOLOv12: globally average-pooled, each (B, C). RT-DETR: maps (B, C, H, W) C3, C4, C5, P3,
        P4, P5.
        """
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

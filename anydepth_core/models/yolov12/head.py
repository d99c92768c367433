"""Dense head: box side distributions and class logits per cell, at three strides."""

from __future__ import annotations

from collections.abc import Sequence
import math

import torch
from torch import nn

from anydepth_core.nn.conv import ConvNorm

STRIDES = (8, 16, 32)
BINS = 16


class DistributionBins(nn.Module):
    """The distances that the side distributions range over, a weight in published checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(BINS, 1, 1, bias=False)
        self.conv.weight.requires_grad_(False).copy_(torch.arange(BINS).view(1, BINS, 1, 1))

    @property
    def values(self) -> torch.Tensor:
        """(BINS,) distances in cells."""
        return self.conv.weight.view(-1)


class Head(nn.Module):
    """Two branches per level; it has one norm set, used at every depth.

    Args:
        channels: channels of the three input maps.
        num_classes: number of classes.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        box_hidden = max(16, channels[0] // 4, 4 * BINS)
        class_hidden = max(channels[0], min(num_classes, 100))
        self.box = nn.ModuleList(self._box_branch(c, box_hidden) for c in channels)
        self.cls = nn.ModuleList(
            self._class_branch(c, class_hidden, num_classes) for c in channels
        )
        self.dfl = DistributionBins()
        self._initialise_biases(num_classes)

    @staticmethod
    def _box_branch(channels: int, hidden: int) -> nn.Sequential:
        return nn.Sequential(
            ConvNorm(channels, hidden, 3),
            ConvNorm(hidden, hidden, 3),
            nn.Conv2d(hidden, 4 * BINS, 1),
        )

    @staticmethod
    def _class_branch(channels: int, hidden: int, num_classes: int) -> nn.Sequential:
        def separable(c_in: int) -> nn.Sequential:
            return nn.Sequential(ConvNorm(c_in, c_in, 3, groups=c_in), ConvNorm(c_in, hidden))

        return nn.Sequential(
            separable(channels), separable(hidden), nn.Conv2d(hidden, num_classes, 1)
        )

    def _initialise_biases(self, num_classes: int) -> None:
        """Start at one-cell boxes and about five objects per 640 pixel image."""
        for box, cls, stride in zip(self.box, self.cls, STRIDES):
            nn.init.constant_(box.get_submodule('2').get_parameter('bias'), 1.0)
            prior = math.log(5 / num_classes / (640 / stride) ** 2)
            nn.init.constant_(cls.get_submodule('2').get_parameter('bias'), prior)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Map three (B, C, H, W) to (B, 64 + num_classes, H, W) each."""
        return [torch.cat((box(x), cls(x)), 1) for box, cls, x in zip(self.box, self.cls, maps)]

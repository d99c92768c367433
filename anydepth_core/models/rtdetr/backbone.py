"""Backbone: a stem and four stages of residual blocks (ResNet, arXiv 1512.03385)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.models.rtdetr.blocks import Norm, ResidualBlock
from anydepth_core.models.rtdetr.layout import Layout
from anydepth_core.nn.conv import ConvNorm
from anydepth_core.nn.norm import FrozenBatchNorm
from anydepth_core.nn.stage import essential_count, Stage


class Backbone(nn.Module):
    """Stem (stride 4) and four stages (strides 4, 8, 16, 32).

    Half of a stage's blocks, rounded up, are essential, and at least one is refinement. The norms
    of the stem and of the shortcuts have one set; where they are trained (R18, R34) the
    statistics of the shortcuts of stages 2 to 4 mix full and base pass, as their input depends on
    the stage before.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        norm: Norm = FrozenBatchNorm if layout.frozen else nn.BatchNorm2d
        self.stem = _stem(layout, norm)
        channels = (layout.width, *layout.stage_channels)
        self.stages = nn.ModuleList(
            _stage(layout, index, channels[index], channels[index + 1], norm) for index in range(4)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        if layout.frozen:
            self.stem.requires_grad_(False)

    def forward(self, images: torch.Tensor, bits: Sequence[bool]) -> list[torch.Tensor]:
        """Map (B, 3, H, W) to the maps at strides 8, 16 and 32."""
        x = F.max_pool2d(self.stem(images), 3, 2, 1)
        maps = []
        for stage, full in zip(self.stages, bits):
            x = stage(x, full)
            maps.append(x)
        return maps[1:]


def _stem(layout: Layout, norm: Norm) -> nn.Sequential:
    width, half = layout.width, layout.width // 2
    sizes = [(3, half, 3, 2), (half, half, 3, 1), (half, width, 3, 1)]
    if not layout.deep_stem:
        sizes = [(3, width, 7, 2)]
    return nn.Sequential(*(ConvNorm(*size, activation=nn.ReLU, norm=norm) for size in sizes))


def _stage(layout: Layout, index: int, in_channels: int, out_channels: int, norm: Norm) -> Stage:
    count = layout.blocks[index]
    essential = min(count - 1, essential_count(count))
    blocks = [
        ResidualBlock(
            in_channels if number == 0 else out_channels,
            layout.width * 2**index,
            out_channels,
            stride=2 if number == 0 and index > 0 else 1,
            bottleneck=layout.bottleneck,
            project=number == 0,
            switchable=number < essential,
            norm=norm,
        )
        for number in range(count)
    ]
    return Stage(blocks[:essential], blocks[essential:])

"""Blocks of any-depth RT-DETR: residual blocks (backbone), re-parameterised CSP blocks (neck)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.nn.conv import ConvNorm, FusedConv
from anydepth_core.nn.stage import Stage

Norm = Callable[[int], nn.Module]


class ResidualBlock(nn.Module):
    """Convolutions with a residual connection, ReLU after each but the last, and after the sum.

    Two 3x3 convolutions, or 1x1, 3x3, 1x1 where the block is a bottleneck; the stride is in the
    first 3x3. A block that changes shape has a projection in its shortcut, behind a 2x2 average
    pool where it has a stride (the "d" variant of arXiv 1812.01187). The projection has one norm
    at every depth, as published.

    Args:
        in_channels: channels of the input.
        width: channels of the first convolution.
        out_channels: channels of the output.
        stride: 1 or 2.
        bottleneck: three convolutions.
        project: the shortcut has a projection.
        switchable: own a second set of norms for the base depth.
        norm: makes a norm of so many channels.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        bottleneck: bool,
        project: bool,
        switchable: bool,
        norm: Norm,
    ) -> None:
        super().__init__()
        conv = partial(ConvNorm, activation=nn.ReLU, switchable=switchable, norm=norm)
        self.conv3: ConvNorm | None = None
        if bottleneck:
            self.conv1 = conv(in_channels, width)
            self.conv2 = conv(width, width, 3, stride)
            self.conv3 = conv(width, out_channels, activation=None)
        else:
            self.conv1 = conv(in_channels, width, 3, stride)
            self.conv2 = conv(width, out_channels, 3, activation=None)
        self.pool = nn.AvgPool2d(2) if project and stride == 2 else nn.Identity()
        self.shortcut = (
            ConvNorm(in_channels, out_channels, activation=None, norm=norm) if project else None
        )

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        residual = self.conv2(self.conv1(x, full), full)
        if self.conv3 is not None:
            residual = self.conv3(residual, full)
        direct = x if self.shortcut is None else self.shortcut(self.pool(x))
        return F.relu(direct + residual)


class RepVggBlock(nn.Module):
    """Sum of a 3x3 and a 1x1 convolution, then SiLU (arXiv 2101.03697, no identity branch).

    At inference both become one 3x3 convolution, see ``nn/fuse.py``.

    Args:
        channels: channels in and out.
        switchable: own a second set of norms for the base depth.
        norm: makes a norm of so many channels.
    """

    def __init__(self, channels: int, switchable: bool, norm: Norm) -> None:
        super().__init__()
        conv = partial(ConvNorm, activation=None, switchable=switchable, norm=norm)
        self.conv3x3 = conv(channels, channels, 3)
        self.conv1x1 = conv(channels, channels)

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return F.silu(self.conv3x3(x, full) + self.conv1x1(x, full))

    def fused(self, full: bool) -> FusedConv:
        """Return one 3x3 convolution: the 1x1 is one with zeros around; see ``nn/fuse.py``."""
        weight, bias = self.conv3x3.folded(full)
        weight1x1, bias1x1 = self.conv1x1.folded(full)
        weight = weight + F.pad(weight1x1, (1, 1, 1, 1))
        return FusedConv(weight, bias + bias1x1, like=self.conv3x3.conv, activation=nn.SiLU())


class CspRepBlock(Stage):
    """Two 1x1 branches, one through three RepVGG blocks, summed.

    One of the three blocks is essential (as published; the backbone's rule would make it two).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: channels of the branches over ``out_channels``; below 1 a third 1x1 convolution
            restores the width.
        norm: makes a norm of so many channels.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: float, norm: Norm) -> None:
        hidden = int(out_channels * expansion)
        super().__init__(
            [RepVggBlock(hidden, True, norm)],
            [RepVggBlock(hidden, False, norm) for _ in range(2)],
        )
        conv = partial(ConvNorm, switchable=True, norm=norm)
        self.conv1 = conv(in_channels, hidden)
        self.conv2 = conv(in_channels, hidden)
        self.conv3 = None if hidden == out_channels else conv(hidden, out_channels)

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        joined = super().forward(self.conv1(x, full), full) + self.conv2(x, full)
        return joined if self.conv3 is None else self.conv3(joined, full)

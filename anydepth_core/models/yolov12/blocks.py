"""Blocks of any-depth YOLOv12, each a stage in the sense of ``nn/stage.py`` (arXiv 2605.09407)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.nn.attention import AreaBlock
from anydepth_core.nn.conv import ConvNorm
from anydepth_core.nn.stage import essential_count, Stage


class Bottleneck(nn.Module):
    """Two 3x3 convolutions with a residual connection.

    Args:
        channels: channels in and out.
        expansion: hidden channels over ``channels``.
        switchable: own a second set of norms for the base depth.
    """

    def __init__(self, channels: int, expansion: float, switchable: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.cv1 = ConvNorm(channels, hidden, 3, switchable=switchable)
        self.cv2 = ConvNorm(hidden, channels, 3, switchable=switchable)

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x + self.cv2(self.cv1(x, full), full)


class C3k(Stage):
    """Two parallel 1x1 branches, one with two bottlenecks, joined by a 1x1 convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        switchable: own a second set of norms for the base depth.
        refine_second: make the second bottleneck the refinement.
    """

    def __init__(
        self, in_channels: int, out_channels: int, switchable: bool, refine_second: bool = False
    ) -> None:
        hidden = out_channels // 2
        first = Bottleneck(hidden, 1.0, switchable)
        second = Bottleneck(hidden, 1.0, switchable and not refine_second)
        super().__init__(*(((first,), (second,)) if refine_second else ((first, second),)))
        self.cv1 = ConvNorm(in_channels, hidden, switchable=switchable)
        self.cv2 = ConvNorm(in_channels, hidden, switchable=switchable)
        self.cv3 = ConvNorm(2 * hidden, out_channels, switchable=switchable)

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        deep = super().forward(self.cv1(x, full), full)
        return self.cv3(torch.cat((deep, self.cv2(x, full)), 1), full)


class AreaBlockPair(nn.ModuleList):
    """Two area attention blocks in a row: one repeat of an attention stage."""

    def __init__(self, channels: int, areas: int, mlp_ratio: float, switchable: bool) -> None:
        super().__init__(AreaBlock(channels, areas, mlp_ratio, switchable) for _ in range(2))

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        for block in self:
            x = block(x, full)
        return x


class C3k2(Stage):
    """CSP block: half of the channels run through the repeats, every output is kept and joined.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: channels of one repeat over ``out_channels``.
        repeats: number of repeats.
        use_c3k: a repeat is a :class:`C3k`, else a :class:`Bottleneck`.
        keep_repeats: variant ``switch``: every repeat is essential; a C3k inside drops its second
            bottleneck. Otherwise (``orig``) the second half of the repeats is the refinement. A
            single repeat is always kept.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float,
        repeats: int,
        use_c3k: bool,
        keep_repeats: bool,
    ) -> None:
        hidden = int(out_channels * expansion)
        keep_repeats = keep_repeats or repeats == 1
        essential = repeats if keep_repeats else essential_count(repeats)

        def repeat(switchable: bool) -> nn.Module:
            if use_c3k:
                return C3k(hidden, hidden, switchable, refine_second=keep_repeats)
            return Bottleneck(hidden, 0.5, switchable)

        super().__init__(
            [repeat(True) for _ in range(essential)],
            [repeat(False) for _ in range(repeats - essential)],
        )
        self.cv1 = ConvNorm(in_channels, 2 * hidden, switchable=True)
        self.cv2 = ConvNorm(
            (2 + repeats) * hidden,
            out_channels,
            switchable=True,
            base_in_channels=None if keep_repeats else (2 + essential) * hidden,
        )

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        halves = self.cv1(x, full).chunk(2, 1)
        return self.cv2(torch.cat((*halves, *self.run_blocks(halves[1], full)), 1), full)


class A2C2f(Stage):
    """CSP block of area attention pairs (backbone) or of C3k blocks (neck).

    The second half of the repeats is the refinement. A single C3k is kept and drops its second
    bottleneck.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; equal to ``in_channels`` with a residual.
        repeats: number of repeats.
        areas: strips of the area attention, None for C3k repeats.
        mlp_ratio: hidden channels of the attention block's 1x1 convolutions over its channels.
        residual: add the input to the output, which is scaled by ``gamma``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        repeats: int,
        areas: int | None,
        mlp_ratio: float,
        residual: bool,
    ) -> None:
        hidden = out_channels // 2
        essential = essential_count(repeats)

        def repeat(switchable: bool) -> nn.Module:
            if areas is None:
                return C3k(hidden, hidden, switchable, refine_second=repeats == 1)
            return AreaBlockPair(hidden, areas, mlp_ratio, switchable)

        super().__init__(
            [repeat(True) for _ in range(essential)],
            [repeat(False) for _ in range(repeats - essential)],
        )
        self.cv1 = ConvNorm(in_channels, hidden, switchable=True)
        self.cv2 = ConvNorm(
            (1 + repeats) * hidden,
            out_channels,
            switchable=True,
            base_in_channels=None if essential == repeats else (1 + essential) * hidden,
            own_base_conv=repeats >= 4,
        )
        self.gamma = nn.Parameter(torch.full((out_channels,), 0.01)) if residual else None

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        first = self.cv1(x, full)
        joined = self.cv2(torch.cat((first, *self.run_blocks(first, full)), 1), full)
        return joined if self.gamma is None else x + self.gamma.view(1, -1, 1, 1) * joined


class BackboneStage(nn.Module):
    """Halve the map (except in the first stage), then run a block; one depth bit rules both."""

    def __init__(self, down: ConvNorm | None, block: Stage) -> None:
        super().__init__()
        self.down = down
        self.block = block

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) to the next level of the hierarchy."""
        return self.block(x if self.down is None else self.down(x, full), full)


class NeckStage(nn.Module):
    """Bring a map to the size of a lateral one, join both, run a block.

    Args:
        down: strided convolution of the bottom-up path, None to double the size (top-down path).
        block: the block.
    """

    def __init__(self, down: ConvNorm | None, block: Stage) -> None:
        super().__init__()
        self.down = down
        self.block = block

    def forward(self, x: torch.Tensor, lateral: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) and a lateral (B, D, H', W') to (B, E, H', W')."""
        resized = F.interpolate(x, scale_factor=2) if self.down is None else self.down(x, full)
        return self.block(torch.cat((resized, lateral), 1), full)


def run_stages(
    stages: Iterable[nn.Module], x: torch.Tensor, bits: Sequence[bool]
) -> list[torch.Tensor]:
    """Run a chain of stages and return the output of each."""
    outputs = []
    for stage, full in zip(stages, bits):
        x = stage(x, full)
        outputs.append(x)
    return outputs

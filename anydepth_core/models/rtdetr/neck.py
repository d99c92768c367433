"""Neck: attention on the coarsest map, then top-down and bottom-up fusion (hybrid encoder)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.models.rtdetr.blocks import CspRepBlock
from anydepth_core.models.rtdetr.layout import Layout
from anydepth_core.nn.attention import SelfAttention
from anydepth_core.nn.conv import ConvNorm
from anydepth_core.nn.position import sincos_position


class EncoderLayer(nn.Module):
    """Post-norm transformer layer; always runs, its two layer norms have a second set for base.

    Args:
        channels: channels of the tokens.
        hidden: hidden channels of the two linear layers.
        heads: attention heads.
    """

    def __init__(self, channels: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(channels, heads)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1, self.norm1_base = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.norm2, self.norm2_base = nn.LayerNorm(channels), nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor, position: torch.Tensor, full: bool) -> torch.Tensor:
        """Map tokens (B, N, C) to the same shape; ``position`` (1, N, C) joins query and key."""
        norm1, norm2 = (self.norm1, self.norm2) if full else (self.norm1_base, self.norm2_base)
        x = norm1(x + self.self_attn(x, position))
        return norm2(x + self.linear2(F.gelu(self.linear1(x))))

    def fused(self, full: bool) -> EncoderLayer:
        """Drop the norms of the other depth; see ``nn/fuse.py``."""
        if full:
            del self.norm1_base, self.norm2_base
        else:
            del self.norm1, self.norm2
        return self


class Neck(nn.Module):
    """Hybrid encoder; one depth bit rules all four CSP blocks.

    Takes strides 8, 16, 32 and returns three maps of the same strides with ``neck_channels``.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels = layout.neck_channels
        conv = partial(ConvNorm, switchable=True, norm=nn.BatchNorm2d)

        def fuse() -> CspRepBlock:
            return CspRepBlock(2 * channels, channels, layout.expansion, nn.BatchNorm2d)

        self.input_proj = nn.ModuleList(
            conv(count, channels, activation=None) for count in layout.stage_channels[1:]
        )
        self.transformer = EncoderLayer(channels, layout.neck_hidden, layout.heads)
        self.lateral = nn.ModuleList(conv(channels, channels) for _ in range(2))
        self.top_down = nn.ModuleList(fuse() for _ in range(2))
        self.down = nn.ModuleList(conv(channels, channels, 3, 2) for _ in range(2))
        self.bottom_up = nn.ModuleList(fuse() for _ in range(2))

    def forward(
        self, c3: torch.Tensor, c4: torch.Tensor, c5: torch.Tensor, full: bool
    ) -> tuple[torch.Tensor, ...]:
        """Map three (B, C_k, H_k, W_k) to three (B, neck_channels, H_k, W_k)."""
        c3, c4, c5 = (proj(x, full) for proj, x in zip(self.input_proj, (c3, c4, c5)))
        t5 = self.lateral[0](self._attend(c5, full), full)
        t4 = self.lateral[1](self._join(self.top_down[0], _double(t5), c4, full), full)
        p3 = self._join(self.top_down[1], _double(t4), c3, full)
        p4 = self._join(self.bottom_up[0], self.down[0](p3, full), t4, full)
        p5 = self._join(self.bottom_up[1], self.down[1](p4, full), t5, full)
        return p3, p4, p5

    def _attend(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        _, channels, height, width = x.shape
        position = sincos_position(width, height, channels, x.device).to(x.dtype)
        tokens = self.transformer(x.flatten(2).transpose(1, 2), position, full)
        return tokens.transpose(1, 2).reshape(x.shape)

    def _join(
        self, block: nn.Module, x: torch.Tensor, lateral: torch.Tensor, full: bool
    ) -> torch.Tensor:
        return block(torch.cat((x, lateral), 1), full)


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2)

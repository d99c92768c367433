"""Area attention and the block around it (YOLOv12, arXiv 2502.12524; arXiv 2605.09407)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from anydepth_core.nn.conv import ConvNorm

HEAD_CHANNELS = 32


class AreaAttention(nn.Module):
    """Multi-head self-attention inside horizontal strips of the map.

    The row-major flattened map is cut into ``areas`` strips of equal length; attention runs inside
    each. A depthwise 5x5 convolution of the values, over the whole map, carries position across
    strips.

    Args:
        channels: channels in and out, a multiple of 32.
        areas: number of strips; H * W must be divisible by it.
        switchable: own a second set of norms for the base depth.
    """

    def __init__(self, channels: int, areas: int, switchable: bool) -> None:
        super().__init__()
        self.heads = channels // HEAD_CHANNELS
        self.areas = areas
        linear = partial(ConvNorm, activation=None, switchable=switchable)
        self.qk = linear(channels, 2 * channels)
        self.v = linear(channels, channels)
        self.pe = linear(channels, channels, 5, groups=channels)
        self.proj = linear(channels, channels)

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        value_map = self.v(x, full)
        queries, keys = (self._strips(half) for half in self.qk(x, full).chunk(2, 1))
        weights = (queries.transpose(-2, -1) @ keys * HEAD_CHANNELS**-0.5).softmax(-1)
        mixed = self._strips(value_map) @ weights.transpose(-2, -1)
        return self.proj(self._map(mixed, x) + self.pe(value_map, full), full)

    def _strips(self, x: torch.Tensor) -> torch.Tensor:
        """Reshape (B, C, H, W) to (B, areas, heads, 32, H * W / areas)."""
        batch = x.shape[0]
        return x.reshape(batch, self.heads, HEAD_CHANNELS, self.areas, -1).permute(0, 3, 1, 2, 4)

    def _map(self, strips: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`_strips`."""
        return strips.permute(0, 2, 3, 1, 4).reshape(like.shape)


class AreaBlock(nn.Module):
    """Area attention, then two 1x1 convolutions, each with a residual connection.

    Args:
        channels: channels in and out.
        areas: strips of the attention.
        mlp_ratio: hidden channels of the 1x1 convolutions over ``channels``.
        switchable: own a second set of norms for the base depth.
    """

    def __init__(self, channels: int, areas: int, mlp_ratio: float, switchable: bool) -> None:
        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.attn = AreaAttention(channels, areas, switchable)
        self.mlp = nn.ModuleList(
            (
                ConvNorm(channels, hidden, switchable=switchable),
                ConvNorm(hidden, channels, activation=None, switchable=switchable),
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        x = x + self.attn(x, full)
        return x + self.mlp[1](self.mlp[0](x, full), full)

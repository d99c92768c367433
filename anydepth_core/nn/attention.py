"""Self-attention of tokens (RT-DETR); area attention of maps and its block (YOLOv12)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.nn.conv import ConvNorm

HEAD_CHANNELS = 32


class SelfAttention(nn.Module):
    """Multi-head self-attention whose position embedding joins queries and keys only.

    Its weights have the names and shapes of ``torch.nn.MultiheadAttention``.

    Args:
        channels: channels of the tokens.
        heads: number of heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, x: torch.Tensor, position: torch.Tensor, blocked: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attend.

        Args:
            x: tokens (B, N, C).
            position: embedding of their positions, (B, N, C) or (1, N, C).
            blocked: (N, N) bool, True where the token of the row may not attend to that of the
                column.

        Returns:
            (B, N, C).
        """
        cut = 2 * x.shape[-1]
        projected = F.linear(x + position, self.in_proj_weight[:cut], self.in_proj_bias[:cut])
        queries, keys = (self._heads(half) for half in projected.chunk(2, -1))
        values = self._heads(F.linear(x, self.in_proj_weight[cut:], self.in_proj_bias[cut:]))
        weights = queries @ keys.transpose(-2, -1) * (x.shape[-1] // self.heads) ** -0.5
        if blocked is not None:
            weights = weights.masked_fill(blocked, float('-inf'))
        mixed = (weights.softmax(-1) @ values).transpose(1, 2)
        return self.out_proj(mixed.reshape(x.shape))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Reshape (B, N, C) to (B, heads, N, C / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AreaAttention(nn.Module):
    """Multi-head self-attention inside horizontal strips of the map (arXiv 2502.12524).

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

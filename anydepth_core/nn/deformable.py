"""Multi-scale deformable attention (arXiv 2010.04159)."""

from __future__ import annotations

from collections.abc import Sequence
import math

import torch
from torch import nn
import torch.nn.functional as F


class DeformableAttention(nn.Module):
    """Every query samples a few points of every map around its box and averages their values.

    Args:
        channels: channels of queries and maps.
        heads: heads, each with its own points and ``channels / heads`` channels.
        levels: number of maps.
        points: points per head and map.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self._initialise()

    def _initialise(self) -> None:
        """Start with points on rays, one direction a head, all with the same weight."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        rays = torch.stack((angles.cos(), angles.sin()), -1)
        rays = rays / rays.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        offsets = rays.view(-1, 1, 1, 2) * steps.expand(-1, self.levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.reshape(-1))
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, queries: torch.Tensor, boxes: torch.Tensor, maps: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Attend.

        Args:
            queries: (B, Q, C).
            boxes: (B, Q, 4) cx, cy, w, h in 0..1; offsets are relative to the box's size.
            maps: one (B, C, H, W) per level.

        Returns:
            (B, Q, C).
        """
        # sampled in float32 at least: half precision cannot address the cells of a large map
        precise = torch.promote_types(queries.dtype, torch.float32)
        points = self._points(queries.to(precise), boxes.to(precise))
        weights = self._weights(queries).to(precise)
        sampled = torch.cat(
            [
                F.grid_sample(self._values(x).to(precise), grid, align_corners=False)
                for x, grid in zip(maps, points)
            ],
            -1,
        )
        mixed = (sampled * weights).sum(-1)  # (B * heads, C / heads, Q)
        mixed = mixed.reshape(-1, queries.shape[-1], mixed.shape[-1]).transpose(1, 2)
        return self.output_proj(mixed.to(queries.dtype))

    def _points(self, queries: torch.Tensor, boxes: torch.Tensor) -> list[torch.Tensor]:
        """Where to sample, for each level (B * heads, Q, points, 2) in -1..1 over the map."""
        count = self.levels * self.points
        offsets = self.sampling_offsets(queries).unflatten(-1, (self.heads, count, 2))
        centres, sizes = boxes[:, :, None, None].split(2, -1)
        places = centres + offsets / self.points * sizes * 0.5
        grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
        return list(grid.split(self.points, 2))

    def _weights(self, queries: torch.Tensor) -> torch.Tensor:
        """Return (B * heads, 1, Q, levels * points) weights that add up to 1."""
        weights = self.attention_weights(queries).unflatten(-1, (self.heads, -1))
        return weights.softmax(-1).transpose(1, 2).flatten(0, 1).unsqueeze(1)

    def _values(self, x: torch.Tensor) -> torch.Tensor:
        """Project one map to (B * heads, C / heads, H, W)."""
        values = self.value_proj(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        return values.reshape(-1, x.shape[1] // self.heads, x.shape[2], x.shape[3])

"""Normalisations."""

from __future__ import annotations

import torch
from torch import nn
import torch.nn.functional as F


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the YOLO constants (eps 1e-3, momentum 0.03)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


class FrozenBatchNorm(nn.Module):
    """Batch normalisation by stored statistics, in training too; nothing of it is a parameter.

    Args:
        channels: channels of the map.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight: torch.Tensor
        self.bias: torch.Tensor
        self.running_mean: torch.Tensor
        self.running_var: torch.Tensor
        for name, value in (
            ('weight', 1.0),
            ('bias', 0.0),
            ('running_mean', 0.0),
            ('running_var', 1.0),
        ):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


class TwinStatisticsNorm(nn.Module):
    """Batch normalisation with one affine part and separate statistics for the base pass.

    For a layer behind a switched one that published checkpoints give a single norm: full and base
    pass no longer average their statistics into each other, while parameters, and gradients in
    training, are those of the single norm.

    Args:
        channels: channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.norm_base = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        norm, base = self.norm, self.norm_base
        if full:
            return norm(x)
        if self.training:  # through the module, which may have become one that syncs processes
            return base(x) * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
        return F.batch_norm(
            x, base.running_mean, base.running_var, norm.weight, norm.bias, False, 0.0, base.eps
        )

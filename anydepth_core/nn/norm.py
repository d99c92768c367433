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


def normalise_apart(
    x: torch.Tensor, statistics: nn.BatchNorm2d, affine: nn.BatchNorm2d
) -> torch.Tensor:
    """Normalise a map by the statistics of one norm and scale it as another does.

    For a layer behind a switched one that published checkpoints give a single norm: full and base
    pass no longer average their statistics into each other, while the parameters, and their
    gradients in training, are those of the single norm.

    Args:
        x: (B, C, H, W).
        statistics: norm without affine part, whose statistics are used and updated.
        affine: norm whose weight and bias are used.
    """
    if statistics.training:  # through the module, which may have become one that syncs processes
        return statistics(x) * affine.weight.view(-1, 1, 1) + affine.bias.view(-1, 1, 1)
    mean, variance = statistics.running_mean, statistics.running_var
    return F.batch_norm(x, mean, variance, affine.weight, affine.bias, False, 0.0, statistics.eps)


def share_norms(module: nn.Module) -> None:
    """Let the base depth use the norms of the full depth, for comparison with the method.

    Every ``norm_base`` (``norm1_base`` ...) gets the very tensors of its ``norm``: parameters and
    running statistics. Call it where the module already is on its device.
    """
    for owner in module.modules():
        for name, norm_base in owner.named_children():
            if name.startswith('norm') and name.endswith('_base'):
                norm = owner.get_submodule(name.removesuffix('_base'))
                for key in norm_base.state_dict():
                    setattr(norm_base, key, getattr(norm, key))

"""Batch norm over the images of several processes, on any device that they can add tensors on."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn

from anydepth_core.nn.precision import at_least_float32


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm whose batch is that of all processes.

    Equal to one process with the joint batch, gradients and running statistics too; torch's own
    one refuses tensors of the CPU. Every process must run it equally often and in the same order,
    forward and backward.

    Args:
        norm: norm to take the place of, with its tensors.
        group: processes; None for all.
    """

    def __init__(self, norm: nn.BatchNorm2d, group: Any = None) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine)
        for name in norm.state_dict():
            setattr(self, name, getattr(norm, name))
        self.train(norm.training)
        self.group = group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        exact = at_least_float32(x)
        count, mean, variance = self._statistics(exact)
        self._remember(count, mean.detach(), variance.detach())
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        normal = (exact - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1)
        if self.affine:
            normal = normal + self.bias.view(-1, 1, 1)
        return normal.to(x.dtype)

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return pixels of a channel (), its mean and variance (C,), over all processes."""
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        mine = torch.cat((mean, variance, mean.new_full((1,), x.numel() / x.shape[1])))
        # one row per process: adding up sums of squares instead would cancel digits
        rows = mine.new_zeros(distributed.get_world_size(self.group), len(mine))
        own = torch.tensor([distributed.get_rank(self.group)], device=x.device)
        rows = _Sum.apply(rows.index_add(0, own, mine.unsqueeze(0)), self.group)
        means, variances, counts = rows.split((len(mean), len(mean), 1), 1)
        share = counts / counts.sum()
        mean = (share * means).sum(0)
        return counts.sum(), mean, (share * (variances + (means - mean).square())).sum(0)

    @torch.no_grad()
    def _remember(self, count: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


def synchronise_norms(module: nn.Module, group: Any = None) -> None:
    """Let every batch norm in a module use the images of all processes of a group."""
    for owner in list(module.modules()):
        for name, child in owner.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(owner, name, SyncBatchNorm(child, group))


class _Sum(torch.autograd.Function):
    """Sum of a tensor over processes; backward, the gradients of all processes add up."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _summed(gradients[0], ctx.group), None


def _summed(x: torch.Tensor, group: Any) -> torch.Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total, group=group)
    return total

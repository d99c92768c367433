"""Convolution with one norm or the two of an essential block, or fused with one of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.nn.norm import batch_norm


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, activation.

    A switchable one belongs to an essential path: it owns a second norm, ``norm_base``, for the
    passes in which the refinement of its stage is left out. Where leaving out the refinement also
    narrows the input, the base pass uses the first ``base_in_channels`` input channels of the
    weight, or a weight of its own (``conv_base``).

    Args:
        in_channels: channels of the input at full depth.
        out_channels: channels of the output.
        kernel: kernel side; padding keeps the size at stride 1.
        stride: stride.
        groups: convolution groups.
        activation: class of the activation, None for none.
        switchable: own ``norm_base``.
        base_in_channels: channels of the input at base depth, None if they do not change.
        own_base_conv: use a separate weight for the narrowed input.
        norm: makes a norm of so many channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.SiLU,
        switchable: bool = False,
        base_in_channels: int | None = None,
        own_base_conv: bool = False,
        norm: Callable[[int], nn.Module] = batch_norm,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = norm(out_channels)
        self.norm_base = norm(out_channels) if switchable else None
        self.base_in_channels = base_in_channels
        self.conv_base = (
            nn.Conv2d(base_in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
            if own_base_conv and base_in_channels is not None
            else None
        )
        self.activation = nn.Identity() if activation is None else activation()

    def forward(self, x: torch.Tensor, full: bool = True) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).

        Args:
            x: the input; at base depth it has ``base_in_channels`` channels where that is set.
            full: False selects what the base depth uses.
        """
        if full or self.norm_base is None:
            return self.activation(self.norm(self.conv(x)))
        return self.activation(self.norm_base(self._conv_at_base(x)))

    def folded(self, full: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias, in float64, of the convolution that this is at one depth."""
        if full or self.norm_base is None:
            return fold_norm(self.conv.weight, self.norm)
        if self.conv_base is not None:
            return fold_norm(self.conv_base.weight, self.norm_base)
        return fold_norm(self.conv.weight[:, : self.base_in_channels], self.norm_base)

    def fused(self, full: bool) -> FusedConv:
        """Return this at one depth; see ``nn/fuse.py``."""
        return FusedConv(*self.folded(full), like=self.conv, activation=self.activation)

    def _conv_at_base(self, x: torch.Tensor) -> torch.Tensor:
        if self.conv_base is not None:
            return self.conv_base(x)
        if self.base_in_channels is None:
            return self.conv(x)
        weight = self.conv.weight[:, : self.base_in_channels]
        return F.conv2d(x, weight, None, self.conv.stride, self.conv.padding)


class FusedConv(nn.Module):
    """Convolution with bias, then activation: what others become at one depth.

    Args:
        weight: (out_channels, in_channels / groups, kernel, kernel).
        bias: (out_channels,).
        like: has the stride, padding, groups and number format of the convolution.
        activation: the activation.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor, like: nn.Conv2d, activation: nn.Module
    ) -> None:
        super().__init__()
        out_channels, group_channels, kernel, _ = weight.shape
        self.conv = nn.Conv2d(
            group_channels * like.groups,
            out_channels,
            kernel,
            like.stride,  # type: ignore[arg-type]
            like.padding,  # type: ignore[arg-type]
            groups=like.groups,
            device='meta',  # the values follow
        )
        self.conv.weight = nn.Parameter(weight.to(like.weight.dtype))
        self.conv.bias = nn.Parameter(bias.to(like.weight.dtype))
        self.activation = activation

    def forward(self, x: torch.Tensor, full: bool = True) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return self.activation(self.conv(x))


def fold_norm(weight: torch.Tensor, *norms: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold a batch norm into the convolution without bias before it.

    Args:
        weight: (out_channels, ...) of the convolution.
        norms: the norm, of any class with the usual tensors; where several are given, each
            tensor is taken from the last that has it.

    Returns:
        weight (out_channels, ...) and bias (out_channels,) in float64.
    """
    stored = {name: x.double() for norm in norms for name, x in norm.state_dict().items()}
    factor = stored['weight'] * (stored['running_var'] + norms[-1].eps).rsqrt()
    bias = stored['bias'] - stored['running_mean'] * factor
    return weight.detach().double() * factor.view(-1, *(1,) * (weight.ndim - 1)), bias

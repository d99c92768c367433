"""Count the multiply-adds of a torch detector from shapes alone, by two rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
import copy
from typing import Any

import torch
from torch import nn
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from anydepth_core.depth import DepthConfig
from anydepth_core.models.detector import Detector
from anydepth_core.nn.fuse import fuse

PLAIN = ('conv', 'linear', 'matmul')
"""Kinds of operation that the plain rule counts."""

RULES = {
    'plain': 'convolutions, linear layers and the matrix products of attention',
    'published': 'plain + per element 2 for batch norms (frozen 0), 5 for layer norms, '
    '1 for upsampling, 4 for bilinear sampling, as published for RT-DETR',
}
"""The two rules, each in one line; both count before norms and RepVGG blocks are fused."""


class MultiplyAddCounter(TorchFunctionMode):
    """Count what runs inside its ``with`` block.

    Attributes:
        counts: multiply-adds by kind of operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count it.

        Raises:
            NotImplementedError: if it is a product that no rule knows.
        """
        kwargs = kwargs or {}
        shapes_only = func in _BY_SHAPE and args[0].is_meta
        result = (_BY_SHAPE[func] if shapes_only else func)(*args, **kwargs)
        if func in _COUNTED:
            kind, cost = _COUNTED[func]
            self.counts[kind] += cost(result, *args, **kwargs)
        elif func in _REFUSED:
            raise NotImplementedError(f'no rule counts the multiply-adds of {func.__name__}')
        return result

    def totals(self) -> dict[str, int]:
        """Return ``counts`` of every kind and their sums by rule, ``plain`` and ``published``."""
        kinds = {kind: self.counts[kind] for kind, _ in _COUNTED.values()}
        plain = sum(kinds[kind] for kind in PLAIN)
        return {**kinds, 'plain': plain, 'published': sum(kinds.values())}


def count_multiply_adds(
    detector: Detector, depth: DepthConfig | str, image_size: tuple[int, int]
) -> dict[str, int]:
    """Count the multiply-adds of one image in evaluation.

    Nothing is computed: the detector runs on shapes, wherever its weights are.

    Args:
        detector: the detector; it is not changed.
        depth: which refinements run.
        image_size: (height, width) in pixels, multiples of 32.

    Returns:
        ``plain`` and ``published`` (see ``RULES``) and their parts: ``conv``, ``linear``,
        ``matmul``, ``batch_norm``, ``layer_norm``, ``upsampling``, ``sampling``.

    Raises:
        ValueError: if the depth or the size is not legal.
    """
    images = torch.empty(1, 3, *image_size, device='meta')
    with torch.no_grad(), MultiplyAddCounter() as counter:
        _without_values(detector).eval()(images, depth)
    return counter.totals()


def count_parameters(detector: Detector, depth: DepthConfig | str) -> int:
    """Count the parameters that a detector has once it is fused for one depth.

    Raises:
        ValueError: if the depth is not legal.
    """
    return sum(weight.numel() for weight in fuse(_without_values(detector), depth).parameters())


def _without_values(detector: Detector) -> Detector:
    """Copy a detector without copying its weights: they are on the meta device."""
    weights: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device='meta'), weight.requires_grad)
        for weight in detector.parameters()
    }
    buffers = {
        id(buffer): torch.empty_like(buffer, device='meta') for buffer in detector.buffers()
    }
    return copy.deepcopy(detector, weights | buffers)


def _of_conv(
    result: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any
) -> int:
    return result.numel() * weight[0].numel()


def _of_linear(result: torch.Tensor, x: torch.Tensor, *_: Any, **__: Any) -> int:
    return result.numel() * x.shape[-1]


def _of_batch_norm(
    result: torch.Tensor,
    x: torch.Tensor,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    *_: Any,
    **__: Any,
) -> int:
    """Two per element; a norm whose affine part is no parameter is frozen and counts as none."""
    return 2 * result.numel() if isinstance(weight, nn.Parameter) else 0


def _per_element(cost: int) -> Callable[..., int]:
    return lambda result, *_, **__: cost * result.numel()


_COUNTED: dict[Callable[..., Any], tuple[str, Callable[..., int]]] = {
    F.conv2d: ('conv', _of_conv),
    F.linear: ('linear', _of_linear),
    torch.matmul: ('matmul', _of_linear),
    torch.Tensor.matmul: ('matmul', _of_linear),
    torch.Tensor.__matmul__: ('matmul', _of_linear),
    F.batch_norm: ('batch_norm', _of_batch_norm),
    F.layer_norm: ('layer_norm', _per_element(5)),
    F.interpolate: ('upsampling', _per_element(1)),
    F.grid_sample: ('sampling', _per_element(4)),
}
# what torch takes long to find out about tensors without values
_BY_SHAPE: dict[Callable[..., Any], Callable[..., torch.Tensor]] = {
    F.batch_norm: lambda x, *_, **__: torch.empty_like(x),
    F.layer_norm: lambda x, *_, **__: torch.empty_like(x),
    F.grid_sample: lambda x, grid, **_: x.new_empty(*x.shape[:2], *grid.shape[1:3]),
}
_REFUSED = frozenset(
    (
        torch.addmm,
        torch.baddbmm,
        torch.bmm,
        torch.einsum,
        torch.mm,
        torch.Tensor.bmm,
        torch.Tensor.mm,
        F.bilinear,
        F.conv1d,
        F.conv3d,
        F.conv_transpose2d,
        F.multi_head_attention_forward,
        F.scaled_dot_product_attention,
    )
)

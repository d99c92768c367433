"""ONNX forms of torch functions that are layers of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anydepth_core.export.handler import Writer

Sides = int | Sequence[int]


def conv2d(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    groups: int = 1,
) -> str:
    """Write ``F.conv2d``."""
    operands = [to.value(x), to.value(weight)] + ([] if bias is None else [to.value(bias)])
    return to.graph.node(
        'Conv',
        operands,
        kernel_shape=list(weight.shape[2:]),
        strides=_pair(stride),
        pads=_pair(padding) * 2,
        dilations=_pair(dilation),
        group=groups,
    )


def linear(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> str:
    """Write ``F.linear``."""
    transposed = to.graph.node('Transpose', (to.value(weight),), perm=[1, 0])
    product = to.graph.node('MatMul', (to.value(x), transposed))
    return product if bias is None else to.graph.node('Add', (product, to.value(bias)))


def batch_norm(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> str:
    """Write ``F.batch_norm`` with stored statistics."""
    if training:
        raise RuntimeError(
            'a detector in training mode cannot be exported; call detector.eval() first'
        )
    operands = [to.value(operand) for operand in (x, weight, bias, running_mean, running_var)]
    return to.graph.node('BatchNormalization', operands, epsilon=eps)


def layer_norm(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float = 1e-5,
) -> str:
    """Write ``F.layer_norm``."""
    operands = [to.value(operand) for operand in (x, weight, bias)]
    axis = -len(normalized_shape)
    return to.graph.node('LayerNormalization', operands, axis=axis, epsilon=eps)


def relu(to: Writer, result: torch.Tensor, x: torch.Tensor, inplace: bool = False) -> str:
    """Write ``F.relu``."""
    return to.graph.node('Relu', (to.value(x),))


def max_pool2d(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    kernel_size: Sides,
    stride: Sides | None = None,
    padding: Sides = 0,
    dilation: Sides = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> str:
    """Write ``F.max_pool2d``."""
    _refuse('max_pool2d', ceil_mode=ceil_mode, dilation=_pair(dilation) != [1, 1])
    return to.graph.node('MaxPool', (to.value(x),), **_window(kernel_size, stride, padding))


def avg_pool2d(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    kernel_size: Sides,
    stride: Sides | None = None,
    padding: Sides = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:
    """Write ``F.avg_pool2d``."""
    _refuse('avg_pool2d', ceil_mode=ceil_mode, divisor_override=divisor_override is not None)
    window = _window(kernel_size, stride, padding)
    return to.graph.node(
        'AveragePool', (to.value(x),), count_include_pad=int(count_include_pad), **window
    )


def interpolate(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    size: Any = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = 'nearest',
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> str:
    """Write ``F.interpolate`` of nearest neighbours by a factor."""
    if mode != 'nearest' or scale_factor is None:
        raise RuntimeError(
            'only interpolate(scale_factor=..., mode="nearest") has an ONNX form here'
        )
    factors = [scale_factor] * 2 if isinstance(scale_factor, (int, float)) else list(scale_factor)
    scales = to.graph.constant(np.array([1, 1, *factors], np.float32))
    return to.graph.node(
        'Resize',
        (to.value(x), '', scales),
        mode='nearest',
        coordinate_transformation_mode='asymmetric',
        nearest_mode='floor',
    )


def _window(kernel: Sides, stride: Sides | None, padding: Sides) -> dict[str, list[int]]:
    return {
        'kernel_shape': _pair(kernel),
        'strides': _pair(kernel if stride is None else stride),
        'pads': _pair(padding) * 2,
    }


def _refuse(function: str, **options: bool) -> None:
    for option, used in options.items():
        if used:
            raise RuntimeError(f'{function} with {option} has no ONNX form here; leave it out')


def _pair(value: Sides) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)

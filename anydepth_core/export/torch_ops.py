"""ONNX forms (opset 18) of the torch functions that detectors use.

A handler gets the recorder, the result torch computed and the arguments of the torch function,
writes nodes and returns the name, or names, of the result in the graph. ``HANDLERS`` maps the name
of a torch function to its handler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from anydepth_core.export.graph import GraphWriter

_LAST = np.iinfo(np.int64).max


class Writer(Protocol):
    """What a handler needs of the recorder."""

    graph: GraphWriter

    def value(self, operand: Any) -> str:
        """Name of a tensor or number in the graph."""

    def sizes(self, sizes: Sequence[int], reshaped: torch.Tensor | None = None) -> str:
        """Name of an int64 vector of sizes."""


Handler = Callable[..., 'str | list[str]']


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _conv2d(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> str:
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


def _batch_norm(
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
    if training:
        raise RuntimeError(
            'a detector in training mode cannot be exported; call detector.eval() first'
        )
    operands = [to.value(operand) for operand in (x, weight, bias, running_mean, running_var)]
    return to.graph.node('BatchNormalization', operands, epsilon=eps)


def _silu(to: Writer, result: torch.Tensor, x: torch.Tensor, inplace: bool = False) -> str:
    return to.graph.node('Mul', (to.value(x), to.graph.node('Sigmoid', (to.value(x),))))


def _sigmoid(to: Writer, result: torch.Tensor, x: torch.Tensor) -> str:
    # ONNX Runtime's Sigmoid is exact to about 1e-8 absolute, which is 2e-4 of the scores of an
    # untrained head; its Exp keeps the relative precision.
    exponential = to.graph.node('Exp', (to.graph.node('Neg', (to.value(x),)),))
    return to.graph.node('Reciprocal', (to.graph.node('Add', (exponential, to.value(1.0))),))


def _unary(kind: str) -> Handler:
    def handler(to: Writer, result: torch.Tensor, x: torch.Tensor) -> str:
        return to.graph.node(kind, (to.value(x),))

    return handler


def _binary(kind: str) -> Handler:
    def handler(to: Writer, result: torch.Tensor, a: Any, b: Any) -> str:
        return to.graph.node(kind, (to.value(a), to.value(b)))

    return handler


def _softmax(
    to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, dtype: torch.dtype | None = None
) -> str:
    return to.graph.node('Softmax', (to.value(x),), axis=dim % x.dim())


def _sum(
    to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, keepdim: bool = False
) -> str:
    axes = to.graph.integers((dim % x.dim(),))
    return to.graph.node('ReduceSum', (to.value(x), axes), keepdims=int(keepdim))


def _cat(to: Writer, result: torch.Tensor, tensors: Sequence[torch.Tensor], dim: int = 0) -> str:
    return to.graph.node('Concat', [to.value(x) for x in tensors], axis=dim % result.dim())


def _stack(to: Writer, result: torch.Tensor, tensors: Sequence[torch.Tensor], dim: int = 0) -> str:
    axis = dim % result.dim()
    axes = to.graph.integers((axis,))
    parts = [to.graph.node('Unsqueeze', (to.value(x), axes)) for x in tensors]
    return to.graph.node('Concat', parts, axis=axis)


def _chunk(
    to: Writer, result: Sequence[torch.Tensor], x: torch.Tensor, chunks: int, dim: int = 0
) -> list[str]:
    axis = dim % x.dim()
    sizes = to.graph.integers([part.shape[axis] for part in result])
    return to.graph.node_with_outputs('Split', (to.value(x), sizes), len(result), axis=axis)


def _reshape(to: Writer, result: torch.Tensor, x: torch.Tensor, *shape: Any) -> str:
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    return to.graph.node('Reshape', (to.value(x), to.sizes(sizes, reshaped=x)))


def _flatten(
    to: Writer, result: torch.Tensor, x: torch.Tensor, start_dim: int = 0, end_dim: int = -1
) -> str:
    if end_dim % x.dim() != x.dim() - 1:
        raise RuntimeError('flatten that keeps trailing axes has no ONNX form here; use reshape')
    return to.graph.node('Reshape', (to.value(x), to.graph.integers([0] * start_dim + [-1])))


def _unflatten(
    to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, sizes: Sequence[int]
) -> str:
    if dim % x.dim() != x.dim() - 1:
        raise RuntimeError('unflatten of an inner axis has no ONNX form here; use reshape')
    return to.graph.node(
        'Reshape', (to.value(x), to.graph.integers([0] * (x.dim() - 1) + [*sizes]))
    )


def _permute(to: Writer, result: torch.Tensor, x: torch.Tensor, *dims: Any) -> str:
    order = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return to.graph.node('Transpose', (to.value(x),), perm=[axis % x.dim() for axis in order])


def _transpose(to: Writer, result: torch.Tensor, x: torch.Tensor, dim0: int, dim1: int) -> str:
    order = list(range(x.dim()))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return to.graph.node('Transpose', (to.value(x),), perm=order)


def _getitem(to: Writer, result: torch.Tensor, x: torch.Tensor, index: Any) -> str:
    entries = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(entry, slice) and entry.step in (None, 1) for entry in entries):
        raise RuntimeError(f'indexing with {index!r} has no ONNX form here; use slices of step 1')
    cuts = [(axis, cut) for axis, cut in enumerate(entries) if cut != slice(None)]
    starts = [cut.start or 0 for _, cut in cuts]
    ends = [_LAST if cut.stop is None else cut.stop for _, cut in cuts]
    axes = to.graph.integers([axis for axis, _ in cuts])
    return to.graph.node('Slice', (to.value(x), to.sizes(starts), to.sizes(ends), axes))


def _interpolate(
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


def _arange(to: Writer, result: torch.Tensor, end: int, **_: Any) -> str:
    if result.dtype != torch.float32:
        raise RuntimeError('only arange(size, dtype=torch.float32) has an ONNX form here')
    return to.graph.node('Range', (to.value(0.0), to.value(end), to.value(1.0)))


def _meshgrid(
    to: Writer, result: Sequence[torch.Tensor], *vectors: Any, indexing: str = 'ij'
) -> list[str]:
    if len(vectors) != 2 or indexing != 'ij':
        raise RuntimeError("only meshgrid(ys, xs, indexing='ij') has an ONNX form here")
    names = [to.value(vector) for vector in vectors]
    shape = to.graph.node('Concat', [to.graph.node('Shape', (name,)) for name in names], axis=0)
    column = to.graph.node('Unsqueeze', (names[0], to.graph.integers((1,))))
    return [to.graph.node('Expand', (part, shape)) for part in (column, names[1])]


def _to(to: Writer, result: torch.Tensor, x: torch.Tensor, *args: Any, **kwargs: Any) -> str:
    raise RuntimeError(f'a change from {x.dtype} to {result.dtype} has no ONNX form here')


def _full_like(to: Writer, result: torch.Tensor, x: torch.Tensor, fill_value: float) -> str:
    shape = to.graph.node('Shape', (to.value(x),))
    return to.graph.node('Expand', (to.value(float(fill_value)), shape))


HANDLERS: dict[str, Handler] = {
    'add': _binary('Add'),
    'arange': _arange,
    'batch_norm': _batch_norm,
    'cat': _cat,
    'chunk': _chunk,
    'clone': _unary('Identity'),
    'conv2d': _conv2d,
    'div': _binary('Div'),
    'flatten': _flatten,
    'full_like': _full_like,
    '__getitem__': _getitem,
    'interpolate': _interpolate,
    'matmul': _binary('MatMul'),
    'meshgrid': _meshgrid,
    'mul': _binary('Mul'),
    'permute': _permute,
    'relu': _unary('Relu'),
    'reshape': _reshape,
    'sigmoid': _sigmoid,
    'silu': _silu,
    'softmax': _softmax,
    'stack': _stack,
    'sub': _binary('Sub'),
    'sum': _sum,
    'to': _to,
    'transpose': _transpose,
    'unflatten': _unflatten,
}

# Other names of the functions above; operators call themselves by the plain name in some versions
# of torch only.
ALIASES = {
    '__add__': 'add',
    '__radd__': 'add',
    '__sub__': 'sub',
    '__mul__': 'mul',
    '__rmul__': 'mul',
    '__truediv__': 'div',
    '__matmul__': 'matmul',
    'concat': 'cat',
    'true_divide': 'div',
    'view': 'reshape',
}

# Functions whose result is no tensor and the same for images of any size: nothing is written.
PASS_THROUGH = frozenset(('device', 'dim', 'dtype', 'is_floating_point', 'ndim', 'requires_grad'))

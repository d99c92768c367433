"""ONNX forms (opset 18) of the torch functions that detectors use.

A handler gets the recorder, the result torch computed and the arguments of the torch function,
writes nodes and returns the name, or names, of the result in the graph. ``HANDLERS`` maps the name
of a torch function to its handler.
"""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any

from onnx import TensorProto
import torch

from anydepth_core.export import torch_ops_layers as layers
from anydepth_core.export import torch_ops_shape as shape
from anydepth_core.export.handler import Handler, Writer
from anydepth_core.export.sampling import grid_sample


def _unary(kind: str) -> Handler:
    def handler(to: Writer, result: torch.Tensor, x: torch.Tensor) -> str:
        return to.graph.node(kind, (to.value(x),))

    return handler


def _binary(kind: str, swapped: bool = False) -> Handler:
    def handler(to: Writer, result: torch.Tensor, a: Any, b: Any) -> str:
        operands = (to.value(b), to.value(a)) if swapped else (to.value(a), to.value(b))
        return to.graph.node(kind, operands)

    return handler


def _silu(to: Writer, result: torch.Tensor, x: torch.Tensor, inplace: bool = False) -> str:
    return to.graph.node('Mul', (to.value(x), to.graph.node('Sigmoid', (to.value(x),))))


def _sigmoid(to: Writer, result: torch.Tensor, x: torch.Tensor) -> str:
    # ONNX Runtime's Sigmoid is exact to about 1e-8 absolute, which is 2e-4 of the scores of an
    # untrained head; its Exp keeps the relative precision.
    exponential = to.graph.node('Exp', (to.graph.node('Neg', (to.value(x),)),))
    return to.graph.node('Reciprocal', (to.graph.node('Add', (exponential, to.value(1.0))),))


def _gelu(to: Writer, result: torch.Tensor, x: torch.Tensor, approximate: str = 'none') -> str:
    if approximate != 'none':
        raise RuntimeError("only the exact gelu has an ONNX form here; use approximate='none'")
    # opset 18 has no Gelu; back ends know this form of it
    scaled = to.graph.node('Div', (to.value(x), to.value(math.sqrt(2))))
    share = to.graph.node('Add', (to.graph.node('Erf', (scaled,)), to.value(1.0)))
    return to.graph.node('Mul', (to.graph.node('Mul', (to.value(x), share)), to.value(0.5)))


def _softmax(
    to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, dtype: torch.dtype | None = None
) -> str:
    return to.graph.node('Softmax', (to.value(x),), axis=dim % x.dim())


def _reduce(kind: str) -> Handler:
    def handler(
        to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, keepdim: bool = False
    ) -> str:
        axes = to.graph.integers((dim % x.dim(),))
        return to.graph.node(kind, (to.value(x), axes), keepdims=int(keepdim))

    return handler


def _all(
    to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, keepdim: bool = False
) -> str:
    numbers = to.graph.node('Cast', (to.value(x),), to=TensorProto.INT32)
    axes = to.graph.integers((dim % x.dim(),))
    least = to.graph.node('ReduceMin', (numbers, axes), keepdims=int(keepdim))
    return to.graph.node('Cast', (least,), to=TensorProto.BOOL)


def _clamp(
    to: Writer, result: torch.Tensor, x: torch.Tensor, min: Any = None, max: Any = None
) -> str:
    limits = ['' if limit is None else to.value(limit) for limit in (min, max)]
    return to.graph.node('Clip', (to.value(x), *limits))


def _topk(
    to: Writer,
    result: Sequence[torch.Tensor],
    x: torch.Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
) -> list[str]:
    axis = dim % x.dim()
    size = to.graph.node('Shape', (to.value(x),), start=axis, end=axis + 1)
    count = to.graph.node('Min', (to.sizes((k,)), size))
    operands = (to.value(x), count)
    attributes = {'axis': axis, 'largest': int(largest), 'sorted': int(sorted)}
    return to.graph.node_with_outputs('TopK', operands, 2, **attributes)


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
    raise RuntimeError(
        f'a change from {x.dtype} to {result.dtype} has no ONNX form here; '
        'add one to anydepth_core/export/torch_ops.py'
    )


def _full_like(to: Writer, result: torch.Tensor, x: torch.Tensor, fill_value: float) -> str:
    shape = to.graph.node('Shape', (to.value(x),))
    return to.graph.node('Expand', (to.value(float(fill_value)), shape))


def _where(to: Writer, result: torch.Tensor, condition: torch.Tensor, x: Any, other: Any) -> str:
    return to.graph.node('Where', [to.value(operand) for operand in (condition, x, other)])


def _detach(to: Writer, result: torch.Tensor, x: torch.Tensor) -> str:
    return to.value(x)


HANDLERS: dict[str, Handler] = {
    'add': _binary('Add'),
    'all': _all,
    'amax': _reduce('ReduceMax'),
    'arange': _arange,
    'avg_pool2d': layers.avg_pool2d,
    'batch_norm': layers.batch_norm,
    'cat': shape.cat,
    'chunk': shape.split,
    'clamp': _clamp,
    'clone': _unary('Identity'),
    'conv2d': layers.conv2d,
    'cos': _unary('Cos'),
    'detach': _detach,
    'div': _binary('Div'),
    'expand': shape.expand,
    'flatten': shape.flatten,
    'full_like': _full_like,
    'gather': shape.gather,
    'gelu': _gelu,
    '__getitem__': shape.getitem,
    'grid_sample': grid_sample,
    'gt': _binary('Greater'),
    'interpolate': layers.interpolate,
    'layer_norm': layers.layer_norm,
    'linear': layers.linear,
    'log': _unary('Log'),
    'logical_and': _binary('And'),
    'lt': _binary('Less'),
    'matmul': _binary('MatMul'),
    'max_pool2d': layers.max_pool2d,
    'meshgrid': _meshgrid,
    'mul': _binary('Mul'),
    'neg': _unary('Neg'),
    'permute': shape.permute,
    'relu': layers.relu,
    'reshape': shape.reshape,
    'rsub': _binary('Sub', swapped=True),
    'sigmoid': _sigmoid,
    'silu': _silu,
    'sin': _unary('Sin'),
    'softmax': _softmax,
    'split': shape.split,
    'stack': shape.stack,
    'sub': _binary('Sub'),
    'sum': _reduce('ReduceSum'),
    'to': _to,
    'topk': _topk,
    'transpose': shape.transpose,
    'unflatten': shape.unflatten,
    'unsqueeze': shape.unsqueeze,
    'where': _where,
}

# Other names of the functions above; operators call themselves by the plain name in some versions
# of torch only.
ALIASES = {
    '__add__': 'add',
    '__radd__': 'add',
    '__sub__': 'sub',
    '__rsub__': 'rsub',
    '__mul__': 'mul',
    '__rmul__': 'mul',
    '__truediv__': 'div',
    '__matmul__': 'matmul',
    '__neg__': 'neg',
    '__gt__': 'gt',
    '__lt__': 'lt',
    '__and__': 'logical_and',
    'concat': 'cat',
    'true_divide': 'div',
    'view': 'reshape',
}

# Functions whose result is no tensor and the same for images of any size: nothing is written.
PASS_THROUGH = frozenset(('device', 'dim', 'dtype', 'is_floating_point', 'ndim', 'requires_grad'))

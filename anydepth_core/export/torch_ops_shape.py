"""ONNX forms of torch functions that move values without computing with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anydepth_core.export.handler import Writer

_LAST = np.iinfo(np.int64).max


def cat(to: Writer, result: torch.Tensor, tensors: Sequence[torch.Tensor], dim: int = 0) -> str:
    """Write ``torch.cat``."""
    return to.graph.node('Concat', [to.value(x) for x in tensors], axis=dim % result.dim())


def stack(to: Writer, result: torch.Tensor, tensors: Sequence[torch.Tensor], dim: int = 0) -> str:
    """Write ``torch.stack``."""
    axis = dim % result.dim()
    parts = [_unsqueeze(to, to.value(x), axis) for x in tensors]
    return to.graph.node('Concat', parts, axis=axis)


def split(
    to: Writer, result: Sequence[torch.Tensor], x: torch.Tensor, parts: Any, dim: int = 0
) -> list[str]:
    """Write ``torch.split`` or ``torch.chunk``: the sizes are those of the parts torch made."""
    axis = dim % x.dim()
    sizes = to.graph.integers([part.shape[axis] for part in result])
    return to.graph.node_with_outputs('Split', (to.value(x), sizes), len(result), axis=axis)


def reshape(to: Writer, result: torch.Tensor, x: torch.Tensor, *shape: Any) -> str:
    """Write ``Tensor.reshape``."""
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    return to.graph.node('Reshape', (to.value(x), to.sizes(sizes, reshaped=x)))


def flatten(
    to: Writer, result: torch.Tensor, x: torch.Tensor, start_dim: int = 0, end_dim: int = -1
) -> str:
    """Write ``torch.flatten``."""
    sizes = to.graph.integers([0] * (start_dim % x.dim()) + [-1])
    if end_dim % x.dim() != x.dim() - 1:
        kept = to.graph.node('Shape', (to.value(x),), start=end_dim % x.dim() + 1)
        sizes = to.graph.node('Concat', (sizes, kept), axis=0)
    return to.graph.node('Reshape', (to.value(x), sizes))


def unflatten(
    to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, sizes: Sequence[int]
) -> str:
    """Write ``torch.unflatten`` of the last axis."""
    if dim % x.dim() != x.dim() - 1:
        raise RuntimeError('unflatten of an inner axis has no ONNX form here; use reshape')
    return to.graph.node(
        'Reshape', (to.value(x), to.graph.integers([0] * (x.dim() - 1) + [*sizes]))
    )


def permute(to: Writer, result: torch.Tensor, x: torch.Tensor, *dims: Any) -> str:
    """Write ``torch.permute``."""
    order = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return to.graph.node('Transpose', (to.value(x),), perm=[axis % x.dim() for axis in order])


def transpose(to: Writer, result: torch.Tensor, x: torch.Tensor, dim0: int, dim1: int) -> str:
    """Write ``torch.transpose``."""
    order = list(range(x.dim()))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return to.graph.node('Transpose', (to.value(x),), perm=order)


def unsqueeze(to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int) -> str:
    """Write ``torch.unsqueeze``."""
    return _unsqueeze(to, to.value(x), dim % result.dim())


def expand(to: Writer, result: torch.Tensor, x: torch.Tensor, *shape: Any) -> str:
    """Write ``Tensor.expand``."""
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    return to.graph.node(
        'Expand', (to.value(x), to.sizes([1 if size == -1 else size for size in sizes]))
    )


def gather(
    to: Writer, result: torch.Tensor, x: torch.Tensor, dim: int, index: torch.Tensor
) -> str:
    """Write ``torch.gather``."""
    return to.graph.node('GatherElements', (to.value(x), to.value(index)), axis=dim % x.dim())


def getitem(to: Writer, result: torch.Tensor, x: torch.Tensor, index: Any) -> str:
    """Write indexing with slices of step 1, and with None for new axes behind them."""
    entries = index if isinstance(index, tuple) else (index,)
    slices = [entry for entry in entries if entry is not None]
    new_axes = [axis for axis, entry in enumerate(entries) if entry is None]
    if not all(isinstance(entry, slice) and entry.step in (None, 1) for entry in slices):
        raise RuntimeError(f'indexing with {index!r} has no ONNX form here; use slices of step 1')
    name = to.value(x)
    cuts = [(axis, cut) for axis, cut in enumerate(slices) if cut != slice(None)]
    if cuts:
        starts = [cut.start or 0 for _, cut in cuts]
        ends = [_LAST if cut.stop is None else cut.stop for _, cut in cuts]
        axes = to.graph.integers([axis for axis, _ in cuts])
        name = to.graph.node('Slice', (name, to.sizes(starts), to.sizes(ends), axes))
    if new_axes:
        name = to.graph.node('Unsqueeze', (name, to.graph.integers(new_axes)))
    return name


def _unsqueeze(to: Writer, name: str, axis: int) -> str:
    return to.graph.node('Unsqueeze', (name, to.graph.integers((axis,))))

"""ONNX forms of sampling maps at points between their cells (deformable attention)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto
import torch

from anydepth_core.export.handler import Writer

_CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)  # x, y


def grid_sample(
    to: Writer,
    result: torch.Tensor,
    x: torch.Tensor,
    grid: torch.Tensor,
    mode: str = 'bilinear',
    padding_mode: str = 'zeros',
    align_corners: bool | None = None,
) -> str:
    """Write ``F.grid_sample`` in the form the recorder was asked for."""
    if (mode, padding_mode, bool(align_corners)) != ('bilinear', 'zeros', False):
        raise RuntimeError(
            'grid_sample has an ONNX form here only if it is bilinear with zeros outside: '
            'use mode and padding_mode as they are by default, and align_corners=False'
        )
    return FORMS[to.sampling](to, to.value(x), to.value(grid), x.shape[1])


def _as_one_node(to: Writer, maps: str, grid: str, channels: int) -> str:
    return to.graph.node('GridSample', (maps, grid), mode='bilinear', padding_mode='zeros')


def _as_gather(to: Writer, maps: str, grid: str, channels: int) -> str:
    """Write the four cells around every point as rows of a table, then their weighted sum.

    For TensorRT, whose GridSample returns wrong values in deformable attention, without any error,
    in some versions: 10.14.1 and 11.1 (NVIDIA/TensorRT issue 4813), 10.13.3 on a T4
    (lightly-train issue 917).

    Args:
        to: the recorder.
        maps: (N, channels, H, W).
        grid: (N, A, B, 2) x, y in -1..1.
        channels: channels of the maps.

    Returns:
        (N, channels, A, B).
    """
    node, integers = to.graph.node, to.graph.integers
    height, width = (node('Shape', (maps,), start=axis, end=axis + 1) for axis in (2, 3))
    sides = node('Cast', (node('Concat', (width, height), axis=0),), to=TensorProto.FLOAT)
    half_sides = node('Mul', (sides, to.value(0.5)))
    places = node('Mul', (node('Add', (grid, to.value(1.0))), half_sides))
    places = node('Unsqueeze', (node('Sub', (places, to.value(0.5))), integers((3,))))
    # (N, A, B, 4, 2) cells, and the same moved into the map; a cell outside counts nothing
    cells = node('Add', (node('Floor', (places,)), to.graph.constant(_CORNERS)))
    last = node('Sub', (sides, to.value(1.0)))
    legal = node('Min', (node('Max', (cells, to.value(0.0))), last))
    exists = node('Cast', (node('Equal', (cells, legal)),), to=TensorProto.FLOAT)
    distances = node('Abs', (node('Sub', (places, cells)),))
    shares = node('Mul', (node('Sub', (to.value(1.0), distances)), exists))
    weights = node('ReduceProd', (shares, integers((4,))))
    table = node('Transpose', (maps,), perm=[0, 2, 3, 1])
    table = node('Reshape', (table, integers((-1, channels))))
    rows = node('Gather', (table, _row_numbers(to, maps, legal, height, width)), axis=0)
    mixed = node('ReduceSum', (node('Mul', (rows, weights)), integers((3,))), keepdims=0)
    return node('Transpose', (mixed,), perm=[0, 3, 1, 2])


def _row_numbers(to: Writer, maps: str, cells: str, height: str, width: str) -> str:
    """Rows (N, A, B, 4) of cells (N, A, B, 4, 2) in the table of all cells of all maps."""
    node, integers = to.graph.node, to.graph.integers
    steps = node('Concat', (integers((1,)), width), axis=0)
    offsets = node('Mul', (node('Cast', (cells,), to=TensorProto.INT64), steps))
    in_map = node('ReduceSum', (offsets, integers((4,))), keepdims=0)
    count = node('Squeeze', (node('Shape', (maps,), start=0, end=1),))
    zero, one = (to.graph.constant(np.array(number, np.int64)) for number in (0, 1))
    first = node('Mul', (node('Range', (zero, count, one)), node('Mul', (height, width))))
    return node('Add', (in_map, node('Reshape', (first, integers((-1, 1, 1, 1))))))


FORMS: dict[str, Callable[[Writer, str, str, int], str]] = {
    'grid_sample': _as_one_node,
    'gather': _as_gather,
}
"""How sampling may be written, by the name of ``anydepth export --sampling``."""

"""Select rows of tokens before, not after, operations that treat every row by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from anydepth_core.export.flat_graph import FlatGraph

_ELEMENT_WISE = ('Relu', 'Add', 'Sub', 'Mul')


def select_rows_first(graph: FlatGraph) -> None:
    """Write the selection of whole rows as ``Gather`` and move it before row-wise operations.

    RT-DETR predicts a box for every token and keeps those of the tokens that become queries;
    rewritten, it predicts no others. This is done where the batch is 1, since a ``Gather`` takes
    the same rows of every image.
    """
    rewriter = _Rewriter(graph)
    for node in graph.nodes:
        rewriter.add(node)
    graph.nodes = rewriter.nodes


class _Rewriter:
    """Copies a graph node by node, so that what is selected early stands before its users."""

    def __init__(self, graph: FlatGraph) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._uses, self._producers = graph.uses(), graph.producers()
        self._vectors: dict[str, str] = {}
        self._selected: dict[tuple[str, str], str] = {}

    def add(self, node: onnx.NodeProto) -> None:
        """Append a node, or what replaces it."""
        indices = self._row_indices(node)
        if indices is None:
            self.nodes.append(node)
        else:
            self._select(node.input[0], self._vector(indices), node.output[0])

    def _row_indices(self, node: onnx.NodeProto) -> str | None:
        """Name of the Q indices of the whole rows that a node selects, None for other nodes."""
        if node.op_type != 'GatherElements' or helper.get_node_attr_value(node, 'axis') != 1:
            return None
        expand = self._producers.get(node.input[1])
        if expand is None or expand.op_type != 'Expand':
            return None
        names = (node.input[0], expand.input[0], node.input[1])
        tokens, indices, expanded = (self._graph.shape(name) or () for name in names)
        if len(tokens) != 3 or tokens[0] != 1 or tokens[2:] != expanded[2:]:
            return None
        if indices != (1, expanded[1], 1):
            return None
        unsqueeze = self._producers.get(expand.input[0])
        if unsqueeze is None or unsqueeze.op_type != 'Unsqueeze':
            return expand.input[0]
        return unsqueeze.input[0]

    def _vector(self, indices: str) -> str:
        """Name of the indices as a vector (Q,)."""
        if indices not in self._vectors:
            vector, shape = f'{indices}/vector', f'{indices}/vector/shape'
            self._graph.constants[shape] = np.array([-1], np.int64)
            self.nodes.append(helper.make_node('Reshape', [indices, shape], [vector]))
            self._vectors[indices] = vector
        return self._vectors[indices]

    def _select(self, tokens: str, vector: str, output: str | None = None) -> str:
        """Name of the selected rows (1, Q, C) of tokens (1, N, C)."""
        if output is None and (tokens, vector) in self._selected:
            return self._selected[tokens, vector]
        output = output or f'{tokens}/rows_of{vector}'
        operands = self._row_wise_operands(tokens)
        if operands is None:
            node = helper.make_node('Gather', [tokens, vector], [output], axis=1)
        else:
            node = onnx.NodeProto()
            node.CopyFrom(self._producers[tokens])
            node.output[:] = [output]
            for position in operands:
                node.input[position] = self._select(node.input[position], vector)
        self.nodes.append(node)
        self._selected[tokens, vector] = output
        return output

    def _row_wise_operands(self, tokens: str) -> Sequence[int] | None:
        """Which operands have the rows of these tokens, None if their node cannot follow."""
        node = self._producers.get(tokens)
        if node is None or self._uses[tokens] > 1:
            return None
        shapes = [self._graph.shape(name) or () for name in (tokens, *node.input)]
        if node.op_type == 'MatMul' and len(shapes[2]) == 2:
            return (0,)
        count = shapes[0][1:2]
        rows = [position for position, shape in enumerate(shapes[1:]) if shape[-2:-1] == count]
        followed = node.op_type in _ELEMENT_WISE and all(len(shapes[1 + k]) == 3 for k in rows)
        return rows if followed and rows else None

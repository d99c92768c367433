"""Write an ONNX graph, or a branch of one, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto


class GraphWriter:
    """An ONNX graph, or one branch of an ``If``, while it is written.

    Every value gets a name that is unique in the whole model and starts with a slash; names
    without a slash are left to the weights, which keep the names of the detector's state dict, and
    to the inputs and outputs of the model.
    """

    def __init__(self, scope: str = '', numbers: Iterator[int] | None = None) -> None:
        """Start an empty graph; ``scope`` is part of its names, ``numbers`` makes them unique."""
        self._scope = scope
        self._numbers = count() if numbers is None else numbers
        self._nodes: list[onnx.NodeProto] = []
        self._casts: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._branches: dict[str, tuple[GraphWriter, GraphWriter]] = {}

    def branch(self, scope: str) -> GraphWriter:
        """Return an empty graph for a branch inside this one."""
        return GraphWriter(f'{self._scope}/{scope}', self._numbers)

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node with one output and return the name of the output."""
        return self.node_with_outputs(kind, inputs, 1, **attributes)[0]

    def node_with_outputs(
        self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Append a node with several outputs and return their names."""
        name = f'{self._scope}/{kind}_{next(self._numbers)}'
        names = [name] if outputs == 1 else [f'{name}_{index}' for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names

    def switch(self, condition: str, if_true: GraphWriter, if_false: GraphWriter) -> list[str]:
        """Append an ``If`` whose outputs are those of its branches and return their names."""
        names = self.node_with_outputs('If', (condition,), len(if_true._outputs))
        self._branches[self._nodes[-1].name] = (if_true, if_false)
        return names

    def constant(self, value: np.ndarray) -> str:
        """Return the name of a constant; equal constants are stored once."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = f'{self._scope}/constant_{next(self._numbers)}'
            self._initializers.append(numpy_helper.from_array(value, self._constants[key]))
        return self._constants[key]

    def integers(self, values: Sequence[int]) -> str:
        """Return the name of a constant int64 vector."""
        return self.constant(np.array(values, np.int64))

    def weight(self, name: str, value: np.ndarray, cast_name: str | None) -> None:
        """Store a weight; with ``cast_name`` in half precision, cast to float32 under it."""
        if cast_name is None:
            self._initializers.append(numpy_helper.from_array(value, name))
            return
        self._initializers.append(numpy_helper.from_array(value.astype(np.float16), name))
        self._casts.append(
            helper.make_node('Cast', (name,), (cast_name,), name=cast_name, to=TensorProto.FLOAT)
        )

    def output(
        self, value: str, shape: Sequence[int | str | None], name: str | None = None
    ) -> None:
        """Make a float32 value an output, under another name if one is given."""
        if name is not None:
            self._nodes.append(helper.make_node('Identity', (value,), (name,), name=f'/{name}'))
        self._outputs.append(
            helper.make_tensor_value_info(name or value, TensorProto.FLOAT, shape)
        )

    def proto(self, name: str, inputs: Sequence[onnx.ValueInfoProto] = ()) -> onnx.GraphProto:
        """Return the graph with all branches inside it."""
        nodes = []
        for node in (*self._casts, *self._nodes):
            filled = onnx.NodeProto()
            filled.CopyFrom(node)
            for key, branch in zip(
                ('then_branch', 'else_branch'), self._branches.get(node.name, ())
            ):
                filled.attribute.append(
                    helper.make_attribute(key, branch.proto(f'{node.name}/{key}'))
                )
            nodes.append(filled)
        return helper.make_graph(nodes, name, inputs, self._outputs, self._initializers)

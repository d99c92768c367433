"""Flatten an ONNX graph: take the branches that are known, compute what is constant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference, TensorProto
from onnx.reference import ReferenceEvaluator

# Constants of up to this many elements can be shapes, axes and the like, which shape inference
# needs to see.
_SHAPE_ELEMENTS = 16


class FlatGraph:
    """A graph without branches, grown node by node in execution order.

    Args:
        opset: opset version of the nodes.
        constants: values by name that are known from the start.
        shapes: static shapes of float32 graph inputs; without any, no shape is computed.
        replaced: values by name that take the place of those of initialisers.
    """

    def __init__(
        self,
        opset: int,
        constants: Mapping[str, np.ndarray],
        shapes: Mapping[str, tuple[int, ...]],
        replaced: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.outputs: list[str] = []
        self.constants = dict(constants)
        self._opset = opset
        self._replaced = replaced or {}
        self._aliases: dict[str, str] = {}
        self._types = {
            name: helper.make_tensor_type_proto(TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        }

    def add(self, graph: onnx.GraphProto) -> None:
        """Append the nodes of a graph, or of a branch, and everything they need.

        Raises:
            RuntimeError: if a branch is chosen by a value that is not constant.
        """
        for tensor in graph.initializer:
            value = self._replaced.get(tensor.name)
            self.constants[tensor.name] = numpy_helper.to_array(tensor) if value is None else value
        for node in graph.node:
            if node.op_type == 'If':
                self._take_branch(node)
            elif node.op_type == 'Identity':
                self._aliases[node.output[0]] = self.resolve(node.input[0])
            else:
                self._append(node)

    def resolve(self, name: str) -> str:
        """Return the name under which the graph holds a value."""
        return self._aliases.get(name, name)

    def finish(self, outputs: Sequence[str]) -> None:
        """Give the outputs their names and drop what no output needs."""
        names = {self.resolve(output): output for output in outputs}
        for node in self.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        self._types.update(
            {new: self._types[old] for old, new in names.items() if old in self._types}
        )
        self.outputs = list(outputs)
        self.prune()

    def prune(self) -> None:
        """Drop the nodes and constants that no output needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}

    def producers(self) -> dict[str, onnx.NodeProto]:
        """Return the node that computes each value."""
        return {name: node for node in self.nodes for name in node.output}

    def uses(self) -> Counter[str]:
        """Count how often each value is an operand or an output."""
        return Counter(chain(self.outputs, chain.from_iterable(node.input for node in self.nodes)))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the static shape of a value, None if it is not known."""
        if name in self.constants:
            return self.constants[name].shape
        if name not in self._types:
            return None
        dims = self._types[name].tensor_type.shape.dim
        return tuple(dim.dim_value for dim in dims) if all(dim.dim_value for dim in dims) else None

    def _take_branch(self, node: onnx.NodeProto) -> None:
        condition = self.constants.get(self.resolve(node.input[0]))
        if condition is None:
            raise RuntimeError(
                f'the branch of {node.name} is not chosen by the depth alone: '
                'write the master with anydepth export'
            )
        wanted = 'then_branch' if condition.item() else 'else_branch'
        branch = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
        self.add(branch)
        for outer, inner in zip(node.output, branch.output):
            self._aliases[outer] = self.resolve(inner.name)

    def _append(self, original: onnx.NodeProto) -> None:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.input[:] = [self.resolve(name) for name in original.input]
        shape = self.shape(node.input[0]) if node.op_type == 'Shape' else None
        if shape is not None:
            self._compute(node, [np.broadcast_to(np.False_, shape)])
        elif all(name in self.constants for name in node.input if name):
            self._compute(node, [self.constants.get(name) for name in node.input])
        else:
            self.nodes.append(node)
            self._infer(node)

    def _compute(self, node: onnx.NodeProto, operands: Sequence[np.ndarray | None]) -> None:
        if node.op_type == 'Cast' and helper.get_node_attr_value(node, 'to') == TensorProto.FLOAT:
            self.constants[node.output[0]] = np.array(operands[0], np.float32)
            return
        feeds = {name: value for name, value in zip(node.input, operands) if name}
        results = ReferenceEvaluator(node, opsets={'': self._opset}).run(None, feeds)
        self.constants.update(zip(node.output, (np.asarray(result) for result in results)))

    def _infer(self, node: onnx.NodeProto) -> None:
        """Compute the static types of a node's outputs where those of its inputs are known."""
        types, data = {}, {}
        for name in filter(None, node.input):
            if name in self.constants:
                value = self.constants[name]
                kind = helper.np_dtype_to_tensor_dtype(value.dtype)
                types[name] = helper.make_tensor_type_proto(kind, value.shape)
                if value.size <= _SHAPE_ELEMENTS:
                    data[name] = numpy_helper.from_array(value, name)
            elif name in self._types:
                types[name] = self._types[name]
            else:
                return
        schema = defs.get_schema(node.op_type, self._opset, node.domain)
        self._types.update(shape_inference.infer_node_outputs(schema, node, types, data))

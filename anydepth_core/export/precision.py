"""Rewrite a static FP32 graph so that it computes in half precision where that is safe.

The result is strongly typed: every value has the type its node is to compute in, and a Cast stands
wherever the type changes, so a back end has nothing to choose. Convolutions, matrix products and
what lies between them are half. These islands stay float32, as do the graph's inputs and outputs:

* norms, softmax with the scale of its logits, exponentials and logarithms, sums over many values;
* what lies between the last layer with weights and the outputs: sigmoid of the scores, decoding
  of the boxes with its anchor points;
* coordinates: boxes that a decoder refines, the places where maps are sampled and the sampling;
* scores from which the best are chosen, and numbers that become indices;
* operations with a constant that half precision cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, TensorProto

from anydepth_core.export.master import write_precision
from anydepth_core.export.opset import opset_of

FULL, HALF = TensorProto.FLOAT, TensorProto.FLOAT16

_LARGEST = float(np.finfo(np.float16).max)
_NORMS = frozenset(('LayerNormalization', 'BatchNormalization'))
# What feeds one of these is kept in float32 as far back as the last layer with weights.
_EXACT = frozenset(
    ('Softmax', 'Exp', 'Log', 'Reciprocal', 'Sqrt', 'Pow', 'Sin', 'Cos', 'Floor', 'TopK')
    + ('GridSample', 'GlobalAveragePool', 'ReduceSum', 'ReduceMean', 'ReduceProd', 'Cast')
)
_WEIGHTED = frozenset(('Conv', 'ConvTranspose', 'MatMul', 'Gemm')) | _NORMS


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph in half precision with float32 islands, inputs and outputs.

    Args:
        model: a float32 graph without branches, such as those of ``specialise``; it is not
            changed.

    Raises:
        ValueError: if the graph has branches or holds values in half precision already.
    """
    _check(model)
    writer = _Writer(model)
    for node, single in zip(model.graph.node, _islands(model)):
        writer.add(node, single)
    return writer.model()


def _check(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if any(attribute.HasField('g') for attribute in node.attribute):
            raise ValueError(
                f'{node.op_type} {node.name!r} has branches: specialise the master to one depth, '
                'then convert it to half precision'
            )
    values = (*model.graph.input, *model.graph.output)
    types = {value.type.tensor_type.elem_type for value in values}
    types.update(tensor.data_type for tensor in model.graph.initializer)
    if HALF in types:
        raise ValueError('the graph is in half precision already: give the float32 graph')


def _islands(model: onnx.ModelProto) -> list[bool]:
    """Whether each node computes in float32."""
    constants = _unfit(model.graph.initializer)
    opset = opset_of(model)
    exact = {output.name for output in model.graph.output}
    single = []
    for node in reversed(model.graph.node):
        kept = (
            node.op_type in _EXACT | _NORMS
            or not constants.isdisjoint(node.input)
            or not _has_half_form(node, opset)
            or (node.op_type not in _WEIGHTED and not exact.isdisjoint(node.output))
        )
        if kept and node.op_type not in _WEIGHTED:
            exact.update(node.input)
        single.append(kept)
    return single[::-1]


def _unfit(tensors: Iterable[onnx.TensorProto]) -> set[str]:
    """Names of the constants that half precision cannot hold.

    Those are numbers beyond its range, and scalars that it would round to zero (an epsilon).
    """
    names = set()
    for tensor in tensors:
        if tensor.data_type == FULL:
            value = numpy_helper.to_array(tensor)
            magnitude = np.abs(value[np.isfinite(value)])
            vanishes = value.size == 1 and value.any() and not value.astype(np.float16).any()
            if vanishes or magnitude.max(initial=0) > _LARGEST:
                names.add(tensor.name)
    return names


class _Writer:
    """Copies a graph node by node, each in its precision, with casts between them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._original = model
        self._opset = opset_of(model)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = {output.name for output in model.graph.output}
        self._types = _types(model)
        self._precision = {value.name: FULL for value in model.graph.input}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._casts: dict[tuple[str, int], str] = {}

    def add(self, original: onnx.NodeProto, single: bool) -> None:
        """Append a node and the casts it needs."""
        node = onnx.NodeProto()
        node.CopyFrom(original)
        schema = defs.get_schema(node.op_type, self._opset, node.domain)
        node.input[:] = [
            self._operand(name, FULL if single or not free else HALF)
            for name, free in zip(node.input, _free(schema, schema.inputs, len(node.input)))
        ]
        self._nodes.append(node)
        free_outputs = _free(schema, schema.outputs, len(node.output))
        for position, (name, free) in enumerate(zip(original.output, free_outputs)):
            if self._types.get(name) != FULL:
                continue
            self._precision[name] = FULL if single or not free else HALF
            if name in self._outputs and self._precision[name] == HALF:
                self._precision[name] = FULL
                node.output[position] = f'{name}/half'
                self._cast(node.output[position], FULL, name)

    def model(self) -> onnx.ModelProto:
        """Return the rewritten model."""
        original = self._original
        graph = helper.make_graph(
            self._nodes,
            original.graph.name,
            original.graph.input,
            original.graph.output,
            list(self._initializers.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=original.opset_import,
            ir_version=original.ir_version,
            producer_name=original.producer_name,
            producer_version=original.producer_version,
        )
        model.metadata_props.extend(original.metadata_props)
        write_precision(model, 'fp16')
        return model

    def _operand(self, name: str, wanted: int) -> str:
        """Name of a value in the wanted precision; what is no float32 stays as it is."""
        if name in self._constants:
            return self._constant(self._constants[name], wanted)
        if self._types.get(name) != FULL or self._precision[name] == wanted:
            return name
        if (name, wanted) not in self._casts:
            suffix = 'half' if wanted == HALF else 'float32'
            self._casts[name, wanted] = self._cast(name, wanted, f'{name}/{suffix}')
        return self._casts[name, wanted]

    def _constant(self, tensor: onnx.TensorProto, wanted: int) -> str:
        if tensor.data_type != FULL or wanted == FULL:
            self._initializers[tensor.name] = tensor
            return tensor.name
        name = f'{tensor.name}/half'
        if name not in self._initializers:
            value = numpy_helper.to_array(tensor).astype(np.float16)
            self._initializers[name] = numpy_helper.from_array(value, name)
        return name

    def _cast(self, name: str, wanted: int, output: str) -> str:
        self._nodes.append(helper.make_node('Cast', [name], [output], name=output, to=wanted))
        return output


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value that is not constant."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _has_half_form(node: onnx.NodeProto, opset: int) -> bool:
    """Whether ONNX lets any operand or result of a node be half."""
    schema = defs.get_schema(node.op_type, opset, node.domain)
    return any((*_free(schema, schema.inputs, len(node.input)), *_free(schema, schema.outputs, 1)))


def _free(
    schema: defs.OpSchema, parameters: Iterable[defs.OpSchema.FormalParameter], count: int
) -> Iterator[bool]:
    """Whether each of so many operands, or results, may be half; the last may repeat."""
    types = {each.type_param_str: each.allowed_type_strs for each in schema.type_constraints}
    known = ['tensor(float16)' in types.get(each.type_str, ()) for each in parameters]
    return (known[min(position, len(known) - 1)] for position in range(count))

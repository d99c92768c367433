"""Count the multiply-adds of a specialised graph."""

from __future__ import annotations

from collections.abc import Mapping
import math

import onnx
from onnx import shape_inference

Shape = tuple[int, ...]


def multiply_adds(model: onnx.ModelProto) -> dict[str, int]:
    """Count the multiply-adds of one run of a graph with static shapes.

    Convolutions and matrix products are counted, element-wise operations are not (arXiv 2605.09407
    counts the same way, but leaves out attention).

    Args:
        model: a graph without branches, all shapes static, as ``specialise(master, flags, size)``
            returns it.

    Returns:
        ``conv`` (convolutions), ``matmul`` (matrix products: attention and linear layers) and
        ``total``.

    Raises:
        ValueError: if the graph holds a branch or a shape is not static.
    """
    if any(node.op_type == 'If' for node in model.graph.node):
        raise ValueError(
            'the graph holds branches; count a specialised graph: specialise(master, flags, size)'
        )
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField('dim_value') for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    counts = {'conv': 0, 'matmul': 0}
    for node in graph.node:
        if node.op_type == 'Conv':
            counts['conv'] += _of_conv(node, shapes)
        elif node.op_type in ('MatMul', 'Gemm'):
            counts['matmul'] += _of_matmul(node, shapes)
    return {**counts, 'total': sum(counts.values())}


def _of_conv(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    weight = _shape(node, node.input[1], shapes)
    return math.prod(_shape(node, node.output[0], shapes)) * math.prod(weight[1:])


def _of_matmul(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    first = _shape(node, node.input[0], shapes)
    transposed = any(a.name == 'transA' and a.i for a in node.attribute)
    return math.prod(_shape(node, node.output[0], shapes)) * first[0 if transposed else -1]


def _shape(node: onnx.NodeProto, name: str, shapes: Mapping[str, Shape]) -> Shape:
    if name not in shapes:
        raise ValueError(
            f'the shape of {name!r} at node {node.name!r} is not static; '
            'give specialise(master, flags, size) a size'
        )
    return shapes[name]

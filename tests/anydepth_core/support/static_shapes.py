"""What a back end with fixed buffers needs of a graph."""

from __future__ import annotations

import onnx
from onnx import shape_inference


def assert_static(model: onnx.ModelProto) -> None:
    """Require that the shape of every value is known before the graph runs."""
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: value.type.tensor_type.shape.dim
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    for node in graph.node:
        for name in filter(None, node.output):
            assert name in shapes, f'{node.op_type} {name!r} has no shape'
            known = all(dim.HasField('dim_value') for dim in shapes[name])
            assert known, f'{node.op_type} {name!r} has the shape {shapes[name]}'

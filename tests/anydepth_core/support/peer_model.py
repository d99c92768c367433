"""A model that is not ours, for comparisons."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper, TensorProto


def write_model(path: Path, *inputs: tuple[str, int, list[int | str]]) -> Path:
    """Write a model with such inputs (name, type, shape); it adds up what they hold."""
    nodes, summed = [], []
    for name, *_ in inputs:
        nodes += [
            helper.make_node('Cast', [name], [f'{name}_f'], to=TensorProto.FLOAT),
            helper.make_node('ReduceSum', [f'{name}_f'], [f'{name}_s'], keepdims=0),
        ]
        summed.append(f'{name}_s')
    nodes.append(helper.make_node('Sum', summed, ['out']))
    graph = helper.make_graph(
        nodes,
        'peer',
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info('out', TensorProto.FLOAT, [])],
    )
    opset = [helper.make_opsetid('', 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path

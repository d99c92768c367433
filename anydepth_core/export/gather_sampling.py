"""Replace GridSample nodes of a static graph by index arithmetic, which gives the same values.

For versions of TensorRT whose GridSample does not (see ``runtime/tensorrt/library.py``). A master
that is exported with ``--sampling gather`` has no such nodes to begin with; this does it to the
graphs of any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

_CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)  # x, y
_DEFAULTS = {'align_corners': 0, 'mode': b'bilinear', 'padding_mode': b'zeros'}


def gather_sampling(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph without GridSample that computes the same.

    Args:
        model: a float32 graph without branches, every shape in it static, such as those of
            ``specialise`` with a size; it is not changed.

    Raises:
        ValueError: if a GridSample has other attributes than deformable attention uses, or its
            shapes are not known.
    """
    if all(node.op_type != 'GridSample' for node in model.graph.node):
        return model
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    shapes = _shapes(model)
    constants: dict[str, np.ndarray] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type == 'GridSample':
            nodes.extend(_Sampling(node, shapes, constants).nodes())
        else:
            nodes.append(node)
    del rewritten.graph.node[:]
    rewritten.graph.node.extend(nodes)
    rewritten.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    return rewritten


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shapes


class _Sampling:
    """The four cells around every point as rows of a table, then their weighted sum.

    Maps are (N, C, H, W), the grid (N, A, B, 2) x, y in -1..1, the result (N, C, A, B).
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        shapes: dict[str, tuple[int, ...]],
        constants: dict[str, np.ndarray],
    ) -> None:
        self._maps, self._grid = node.input
        self._output = node.output[0]
        self._constants = constants
        self._nodes: list[onnx.NodeProto] = []
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if _DEFAULTS | given != _DEFAULTS:
            raise ValueError(
                f'GridSample {self._output!r} is not bilinear with zeros outside: '
                'export the bundle again'
            )
        shape = shapes.get(self._maps, ())
        if len(shape) != 4 or 0 in shape:
            raise ValueError(
                f'the shape of the maps of GridSample {self._output!r} is not known: '
                'specialise the master to one input size'
            )
        self._count, self._channels, self._height, self._width = shape

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Give the nodes that replace the one."""
        node, constant = self._node, self._constant
        sides = np.array([self._width, self._height], np.float32)
        scaled = node(
            'Mul',
            node('Add', self._grid, constant('one', np.float32(1))),
            constant('half_sides', sides / 2),
        )
        places = node('Sub', scaled, constant('half', np.float32(0.5)))
        places = node('Unsqueeze', places, constant('axis_3', np.array([3])))
        # (N, A, B, 4, 2) cells, and the same moved into the map; a cell outside counts nothing
        cells = node('Add', node('Floor', places), constant('corners', _CORNERS))
        inside = node('Max', cells, constant('zero', np.float32(0)))
        inside = node('Min', inside, constant('last', sides - 1))
        exists = node('Cast', node('Equal', cells, inside), to=TensorProto.FLOAT)
        distances = node('Abs', node('Sub', places, cells))
        shares = node('Mul', node('Sub', constant('one', np.float32(1)), distances), exists)
        axis_4 = constant('axis_4', np.array([4]))
        weights = node('ReduceProd', shares, axis_4)
        table = node('Transpose', self._maps, perm=[0, 2, 3, 1])
        table = node('Reshape', table, constant('rows', np.array([-1, self._channels])))
        steps = constant('steps', np.array([1, self._width]))
        offsets = node('Mul', node('Cast', inside, to=TensorProto.INT64), steps)
        in_map = node('ReduceSum', offsets, axis_4, keepdims=0)
        first = np.arange(self._count).reshape(-1, 1, 1, 1) * (self._height * self._width)
        numbers = node('Add', in_map, constant('first', first))
        products = node('Mul', node('Gather', table, numbers, axis=0), weights)
        mixed = node('ReduceSum', products, constant('axis_3', np.array([3])), keepdims=0)
        node('Transpose', mixed, perm=[0, 3, 1, 2])
        self._nodes[-1].output[0] = self._output
        yield from self._nodes

    def _node(self, kind: str, *operands: str, **attributes: Any) -> str:
        name = f'{self._output}/{kind}_{len(self._nodes)}'
        self._nodes.append(helper.make_node(kind, operands, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, value: np.ndarray | np.floating) -> str:
        """Name of a constant; equal ones of several nodes are stored once."""
        array = np.asarray(value)
        key = f'/sampling/{name}/{"x".join(map(str, array.ravel()[-2:]))}/{array.size}'
        self._constants[key] = array
        return key

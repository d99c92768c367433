"""Folding: the same values from fewer operations, and nothing where they would differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
import pytest

from anydepth_core.export.flat_graph import FlatGraph
from anydepth_core.export.folding import fold

Arrays = Mapping[str, np.ndarray]
Node = onnx.NodeProto


def random(*shape: int) -> np.ndarray:
    generator = np.random.default_rng(sum(shape))
    return generator.uniform(0.5, 2, shape).astype(np.float32)


def model_of(
    nodes: Sequence[Node], constants: Arrays, shape: Sequence[int | str] = (1, 2, 5, 5)
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        'toy',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    static = all(dim.dim_value for dim in dims)
    flat = FlatGraph(18, {}, {'x': tuple(dim.dim_value for dim in dims)} if static else {})
    flat.add(model.graph)
    flat.finish(['y'])
    fold(flat)
    constants = [numpy_helper.from_array(value, name) for name, value in flat.constants.items()]
    graph = helper.make_graph(flat.nodes, 'flat', model.graph.input, model.graph.output, constants)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def assert_same(model: onnx.ModelProto, other: onnx.ModelProto, *shape: int) -> None:
    x = random(*shape)
    expected, actual = (
        onnxruntime.InferenceSession(m.SerializeToString()).run(['y'], {'x': x})[0]
        for m in (model, other)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def conv(name: str, weight: str, kernel: int, **attributes: object) -> Node:
    pads = attributes.pop('pads', [kernel // 2] * 4)
    return helper.make_node('Conv', ['x', *weight.split()], [name], name, pads=pads, **attributes)


CONSTANTS = {
    'w': random(4, 2, 3, 3),
    'w1': random(4, 2, 1, 1),
    'w_group': random(4, 1, 1, 1),
    'b': random(4),
    **{name: random(4) for name in ('gain', 'offset', 'mean', 'var')},
}


def norm(source: str, name: str) -> Node:
    operands = [source, 'gain', 'offset', 'mean', 'var']
    return helper.make_node('BatchNormalization', operands, [name], epsilon=0.1)


def add(a: str, b: str, name: str = 'y') -> Node:
    return helper.make_node('Add', [a, b], [name])


@pytest.mark.parametrize('weight', ['w', 'w b'])
def test_a_norm_is_folded_into_its_convolution(weight: str) -> None:
    nodes = [conv('c', weight, 3), norm('c', 'n'), helper.make_node('Identity', ['n'], ['y'])]
    model = model_of(nodes, CONSTANTS)
    flat = folded(model)
    assert kinds(flat) == {'Conv': 1}
    assert_same(model, flat, 1, 2, 5, 5)


def test_a_norm_is_kept_where_the_convolution_is_used_twice() -> None:
    model = model_of([conv('c', 'w', 3), norm('c', 'n'), add('n', 'c')], CONSTANTS)
    assert kinds(folded(model)) == {'Conv': 1, 'BatchNormalization': 1, 'Add': 1}


@pytest.mark.parametrize('order', [('p', 'q'), ('q', 'p')])
def test_two_normed_convolutions_of_one_map_become_one(order: tuple[str, str]) -> None:
    nodes = [
        conv('large', 'w', 3, strides=[2, 2]),
        norm('large', 'p'),
        conv('small', 'w1 b', 1, strides=[2, 2]),
        norm('small', 'q'),
        add(*order),
    ]
    model = model_of(nodes, CONSTANTS)
    flat = folded(model)
    assert kinds(flat) == {'Conv': 1}
    weight, bias = (numpy_helper.to_array(tensor) for tensor in flat.graph.initializer)
    assert (weight.shape, bias.shape) == ((4, 2, 3, 3), (4,))
    assert weight.dtype == bias.dtype == np.float32
    assert_same(model, flat, 1, 2, 5, 5)


@pytest.mark.parametrize(
    ('nodes', 'convolutions'),
    [
        ([conv('p', 'w', 3), conv('q', 'w', 3), add('p', 'q')], 1),
        ([conv('p', 'w', 3, pads=[0, 0, 2, 2]), conv('q', 'w1', 1), add('p', 'q')], 2),
        (
            [conv('p', 'w', 3, dilations=[2, 2], pads=[2] * 4), conv('q', 'w1', 1), add('p', 'q')],
            2,
        ),
        ([conv('p', 'w', 3), conv('q', 'w_group', 1, group=2), add('p', 'q')], 2),
        ([conv('p', 'w', 3), conv('q', 'w1', 1), add('p', 'q', 's'), add('s', 'p')], 2),
    ],
)
def test_only_sums_that_one_convolution_can_be_are_merged(
    nodes: list[Node], convolutions: int
) -> None:
    model = model_of(nodes, CONSTANTS)
    flat = folded(model)
    assert kinds(flat)['Conv'] == convolutions
    assert_same(model, flat, 1, 2, 5, 5)


def selection(tokens: str, name: str, channels: int) -> list[Node]:
    return [
        helper.make_node('Expand', ['indices', f'{name}/shape'], [f'{name}/indices']),
        helper.make_node('GatherElements', [tokens, f'{name}/indices'], [name], axis=1),
    ]


def box_head(batch: int | str = 1, extra: Sequence[Node] = ()) -> onnx.ModelProto:
    """Choose three of nine tokens, predict for all, keep the predictions of the three."""
    nodes = [
        helper.make_node('ReduceMax', ['x', 'last'], ['scores'], keepdims=0),
        helper.make_node('TopK', ['scores', 'three'], ['best', 'tokens'], axis=1),
        helper.make_node('Unsqueeze', ['tokens', 'last'], ['indices']),
        helper.make_node('MatMul', ['x', 'w'], ['m']),
        helper.make_node('Add', ['b', 'm'], ['a']),
        helper.make_node('Relu', ['a'], ['r']),
        helper.make_node('Add', ['r', 'anchors'], ['boxes']),
        *extra,
        *selection('x', 'content', 4),
        *selection('boxes', 'kept', 2),
        helper.make_node('Concat', ['content', 'kept'], ['y'], axis=2),
    ]
    constants = {
        'last': np.array([-1]),
        'three': np.array([3]),
        'w': random(4, 2) - 1,
        'b': random(2),
        'anchors': random(1, 9, 2),
        'content/shape': np.array([1, 1, 4]),
        'kept/shape': np.array([1, 1, 2]),
    }
    return model_of(nodes, constants, (batch, 9, 4))


def test_rows_are_selected_before_what_is_computed_for_each() -> None:
    model = box_head()
    flat = folded(model)
    assert_same(model, flat, 1, 9, 4)
    assert {'GatherElements', 'Expand'}.isdisjoint(kinds(flat))
    assert kinds(flat)['Gather'] == 2  # of the tokens, once, and of the anchors
    producers = {name: node for node in flat.graph.node for name in node.output}
    (product,) = [node for node in flat.graph.node if node.op_type == 'MatMul']
    assert producers[product.input[0]].op_type == 'Gather'


def test_what_is_used_for_all_rows_is_computed_for_all_rows() -> None:
    nodes = [helper.make_node('ReduceSum', ['r'], ['unused']), add('r', 'anchors', 'other')]
    model = box_head(extra=[*nodes, *selection('other', 'more', 2)])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2]), 'more/shape'))
    last = model.graph.node[-1]
    last.input.append('more')
    flat = folded(model)
    assert_same(model, flat, 1, 9, 4)
    producers = {name: node for node in flat.graph.node for name in node.output}
    (product,) = [node for node in flat.graph.node if node.op_type == 'MatMul']
    assert product.input[0] not in producers


def test_the_rows_of_several_images_are_selected_as_they_were() -> None:
    model = box_head('batch')
    flat = folded(model)
    assert kinds(flat) == kinds(model)
    with_batch_of_two = folded(box_head(2))
    assert kinds(with_batch_of_two)['GatherElements'] == 2


def test_a_branch_that_depends_on_the_image_is_refused() -> None:
    branches = [
        helper.make_graph(
            [helper.make_node('Identity', ['x'], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name in ('p', 'q')
    ]
    nodes = [
        helper.make_node('ReduceMax', ['x'], ['largest'], keepdims=0),
        helper.make_node('Greater', ['largest', 'b'], ['condition']),
        helper.make_node(
            'If', ['condition'], ['y'], name='if', then_branch=branches[0], else_branch=branches[1]
        ),
    ]
    with pytest.raises(RuntimeError, match='branch of if is not chosen by the depth'):
        folded(model_of(nodes, CONSTANTS))

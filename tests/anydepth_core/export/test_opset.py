"""Older opsets: the same graph for TensorRT 8.6, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
import pytest

from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.opset import lower_opset
from anydepth_core.export.precision import to_half
from anydepth_core.export.specialise import specialise
from anydepth_core.models.detector import Detector

DETR_SIZE = (96, 160)


def versions(model: onnx.ModelProto) -> list[int]:
    return [entry.version for entry in model.opset_import]


def outputs(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {'images': images})


def assert_same(model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    for actual, wanted in zip(outputs(model, images), outputs(other, images), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def toy(
    node: onnx.NodeProto, constants: Sequence[tuple[str, Sequence[int]]] = ()
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        'toy',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, (1, 4, 6))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)


@pytest.mark.parametrize('flags', [(True,) * 8, (False,) * 8])
def test_a_yolo_in_opset_17_computes_the_same(
    master: onnx.ModelProto, flags: Sequence[bool]
) -> None:
    model = specialise(master, flags, (64, 96), opset=17)
    onnx.checker.check_model(model, full_check=True)
    assert versions(model) == [17]
    assert_same(model, specialise(master, flags, (64, 96)))


@pytest.mark.parametrize('depth', [((True,) * 5, 3), ((False,) * 5, 2)])
@pytest.mark.parametrize('sampling', ['grid_sample', 'gather'])
def test_an_rtdetr_in_opset_17_computes_the_same(
    rtdetr: Detector, depth: tuple[Sequence[bool], int], sampling: str
) -> None:
    master = build_master(rtdetr, sampling=sampling)
    flags, layers = depth
    model = specialise(master, flags, DETR_SIZE, layers, opset=17)
    onnx.checker.check_model(model, full_check=True)
    assert versions(model) == [17]
    assert_same(model, specialise(master, flags, DETR_SIZE, layers))
    reductions = [node for node in model.graph.node if node.op_type in ('ReduceMax', 'ReduceProd')]
    assert reductions and all(len(node.input) == 1 for node in reductions)


def test_half_precision_and_opset_17_go_together(rtdetr_master: onnx.ModelProto) -> None:
    flags = (True, False) * 2 + (True,)
    model = to_half(specialise(rtdetr_master, flags, DETR_SIZE, 1, opset=17))
    onnx.checker.check_model(model, full_check=True)
    assert versions(model) == [17]


def test_the_graph_given_is_not_changed(rtdetr_master: onnx.ModelProto) -> None:
    model = specialise(rtdetr_master, (True,) * 5, DETR_SIZE)
    before = model.SerializeToString(deterministic=True)
    lower_opset(model, 17)
    assert model.SerializeToString(deterministic=True) == before
    assert versions(model) == [18]


@pytest.mark.parametrize('kind', ['ReduceMax', 'ReduceMean', 'ReduceProd', 'ReduceMin'])
@pytest.mark.parametrize('keepdims', [0, 1])
def test_reductions_name_their_axes_in_an_attribute(kind: str, keepdims: int) -> None:
    node = helper.make_node(kind, ['images', 'axes'], ['y'], keepdims=keepdims)
    model = toy(node, [('axes', [0, 2])])
    lowered = lower_opset(model, 17)
    assert not lowered.graph.initializer
    assert lowered.graph.node[0].input == ['images']
    assert_same(lowered, model)


def test_splits_by_sizes_stay() -> None:
    model = toy(
        helper.make_node('Split', ['images', 'sizes'], ['a', 'b'], axis=2), [('sizes', [2, 4])]
    )
    assert lower_opset(model, 17).graph == model.graph
    assert_same(lower_opset(model, 17), model)


@pytest.mark.parametrize(
    'node',
    [
        helper.make_node('Split', ['images'], ['a', 'b'], num_outputs=2, axis=1),
        helper.make_node('ReduceMax', ['images', 'images'], ['y']),
        helper.make_node('Resize', ['images', '', '', 'sizes'], ['y'], antialias=1),
        helper.make_node('Mish', ['images'], ['y']),
        helper.make_node('Pad', ['images', 'sizes', '', 'sizes'], ['y']),
    ],
    ids=lambda node: node.op_type,
)
def test_what_has_no_older_form_is_refused(node: onnx.NodeProto) -> None:
    with pytest.raises(ValueError, match=rf'{node.op_type} .* has no form in opset 17: build'):
        lower_opset(toy(node, [('sizes', [1, 4, 12])]), 17)


@pytest.mark.parametrize('opset', [16, 19])
def test_other_opsets_are_refused(master: onnx.ModelProto, opset: int) -> None:
    with pytest.raises(ValueError, match=f'opset {opset} is not offered: give a number from 17'):
        specialise(master, (True,) * 8, (64, 64), opset=opset)

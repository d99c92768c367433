"""Half precision: close to float32, safe islands stay exact, types are stated everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference, TensorProto
import onnxruntime
import pytest

from anydepth_core.data.preprocess import preprocess
from anydepth_core.export.bundle import default_bundle_path, load_bundle
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.precision import to_half
from anydepth_core.export.reference import query_errors
from anydepth_core.export.specialise import specialise
from anydepth_core.models.detector import Detector

CLIP = Path(__file__).parents[3] / 'config' / 'media' / 'fod_clip.mp4'
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
PIXELS, SCORE = 0.5, 0.01
YOLO_FULL, YOLO_BASE = ((True,) * 8, None), ((False,) * 8, None)
DETR_FULL, DETR_BASE = ((True,) * 5, 3), ((False,) * 5, 2)
Depth = tuple[Sequence[bool], 'int | None']


def run(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return dict(zip(('boxes', 'scores'), session.run(['boxes', 'scores'], {'images': images})))


def frames(count: int) -> Iterator[np.ndarray]:
    video = cv2.VideoCapture(str(CLIP))
    step = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) // count
    for index in range(count):
        video.set(cv2.CAP_PROP_POS_FRAMES, index * step)
        yield video.read()[1]


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def operand_types(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, set[int]]]:
    """Yield each node with the floating-point types it takes."""
    types = types_of(model)
    for node in model.graph.node:
        yield node, {types[name] for name in node.input if name} & {FLOAT, HALF}


def toy(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, np.ndarray], channels: int = 2
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        'toy',
        [helper.make_tensor_value_info('images', FLOAT, (1, channels, 4, 4))],
        [helper.make_tensor_value_info('y', FLOAT, (1, 'channels', 4, 4))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)


def toy_run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(['y'], {'images': images})[0]


def convolutions(first: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node('Conv', ['images', 'first'], ['x']),
        helper.make_node('Relu', ['x'], ['positive']),
        helper.make_node('Conv', ['positive', 'second'], ['y']),
    ]
    return toy(nodes, {'first': first, 'second': np.ones((2, 2, 1, 1), np.float32)})


@pytest.mark.parametrize('level', range(len(load_bundle(default_bundle_path()).ladder)))
def test_every_level_of_the_default_bundle_detects_the_same(level: int) -> None:
    bundle = load_bundle(default_bundle_path())
    point = bundle.ladder[level]
    exact = specialise(onnx.load(bundle.master_path), point.depth.stages, point.image_size)
    half = to_half(exact)
    onnx.checker.check_model(half, full_check=True)
    seen = 0
    for frame in frames(4):
        images, _ = preprocess(frame, point.image_size, bundle.resize)
        wanted, found = run(exact, images), run(half, images)
        assert np.abs(found['scores'] - wanted['scores']).max() <= SCORE
        likely = wanted['scores'][0].max(0) > 0.05
        seen += likely.sum()
        assert np.abs(found['boxes'] - wanted['boxes'])[0][:, likely].max(initial=0) <= PIXELS
    assert seen


@pytest.mark.parametrize('depth', [YOLO_FULL, YOLO_BASE])
def test_a_tiny_yolo_detects_the_same(master: onnx.ModelProto, depth: Depth) -> None:
    exact = specialise(master, depth[0], (64, 96))
    images = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)
    wanted, found = run(exact, images), run(to_half(exact), images)
    assert np.abs(found['scores'] - wanted['scores']).max() <= SCORE
    assert np.abs(found['boxes'] - wanted['boxes']).max() <= PIXELS


@pytest.mark.parametrize('depth', [DETR_FULL, DETR_BASE])
@pytest.mark.parametrize('sampling', ['grid_sample', 'gather'])
def test_a_tiny_rtdetr_detects_the_same(rtdetr: Detector, depth: Depth, sampling: str) -> None:
    # 189 tokens: all become queries, so rounding does not choose between them
    exact = specialise(build_master(rtdetr, sampling=sampling), depth[0], (96, 96), depth[1])
    half = to_half(exact)
    onnx.checker.check_model(half, full_check=True)
    for seed in range(2):
        images = np.random.default_rng(seed).random((1, 3, 96, 96), dtype=np.float32)
        wanted = run(exact, images)
        errors = query_errors(run(half, images), wanted)
        assert errors['boxes'] * np.abs(wanted['boxes']).max() <= PIXELS
        assert errors['scores'] * np.abs(wanted['scores']).max() <= SCORE


@pytest.mark.parametrize('sampling', ['grid_sample', 'gather'])
def test_islands_are_float32_and_layers_are_half(rtdetr: Detector, sampling: str) -> None:
    model = specialise(build_master(rtdetr, sampling=sampling), DETR_FULL[0], (96, 160), 3)
    half = to_half(model)
    exact = {'LayerNormalization', 'Softmax', 'GridSample', 'Exp', 'Log', 'Reciprocal', 'Floor'}
    exact |= {'ReduceSum', 'ReduceProd', 'TopK'}
    layers = {'Conv', 'MatMul', 'MaxPool', 'Resize'}
    seen = set()
    for node, types in operand_types(half):
        if node.op_type in exact:
            assert types <= {FLOAT}, node.name
        elif node.op_type in layers - {'Resize'}:
            assert types == {HALF}, node.name
        seen.add(node.op_type)
    assert seen >= layers | ({'GridSample'} if sampling == 'grid_sample' else {'Floor'})
    stored = {tensor.data_type for tensor in half.graph.initializer if np.prod(tensor.dims) > 1000}
    assert stored == {HALF, FLOAT}  # weights, and the anchors (1, 315, 4)


def test_the_box_decoding_of_a_dense_head_is_float32(master: onnx.ModelProto) -> None:
    half = to_half(specialise(master, YOLO_FULL[0], (64, 96)))
    producers = {name: node for node in half.graph.node for name in node.output}
    types = types_of(half)
    pending, decoded = ['boxes', 'scores'], set()
    while pending:  # back from the outputs to where a convolution's result is made float32
        node = producers.get(pending.pop())
        if node is None or producers.get(node.input[0], node).op_type == 'Conv':
            continue
        decoded.add(node.op_type)
        assert {types[name] for name in node.output} == {FLOAT}
        pending += node.input
    assert decoded >= {'Softmax', 'ReduceSum', 'Exp', 'Reciprocal', 'Concat', 'Mul', 'Split'}


def test_inputs_and_outputs_stay_float32_even_behind_a_layer() -> None:
    model = convolutions(np.full((2, 2, 1, 1), 0.5, np.float32))
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    values = (*half.graph.input, *half.graph.output)
    assert [value.type.tensor_type.elem_type for value in values] == [FLOAT, FLOAT]
    assert {tensor.data_type for tensor in half.graph.initializer} == {HALF}
    images = np.random.default_rng(0).random((1, 2, 4, 4), dtype=np.float32)
    np.testing.assert_allclose(toy_run(half, images), toy_run(model, images), rtol=2e-3)


@settings(max_examples=25, deadline=None)
@given(weight=st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False))
def test_weights_beyond_half_precision_stay_float32(weight: float) -> None:
    half = to_half(convolutions(np.full((2, 2, 1, 1), weight, np.float32)))
    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    kept = abs(weight) > 65504
    assert types == {
        'first' if kept else 'first/half': FLOAT if kept else HALF,
        'second/half': HALF,
    }
    onnx.checker.check_model(half, full_check=True)


def test_an_epsilon_that_would_vanish_stays_float32() -> None:
    nodes = [
        helper.make_node('Abs', ['images'], ['size']),
        helper.make_node('Max', ['size', 'epsilon'], ['some']),
        helper.make_node('Div', ['images', 'some'], ['sign']),
        helper.make_node('Conv', ['sign', 'weight'], ['y']),
    ]
    constants = {'epsilon': np.float32(1e-12), 'weight': np.ones((1, 2, 1, 1), np.float32)}
    half = to_half(toy(nodes, {name: np.array(value) for name, value in constants.items()}))
    types = {node.op_type: types for node, types in operand_types(half)}
    assert (types['Max'], types['Conv']) == ({FLOAT}, {HALF})


def test_a_value_used_in_both_precisions_is_cast_once() -> None:
    nodes = [
        helper.make_node('Conv', ['images', 'weight'], ['x']),
        helper.make_node('Softmax', ['x'], ['shares'], axis=1),
        helper.make_node('Exp', ['x'], ['grown']),
        helper.make_node('Mul', ['shares', 'grown'], ['y']),
    ]
    half = to_half(toy(nodes, {'weight': np.ones((2, 2, 1, 1), np.float32)}))
    assert [node.op_type for node in half.graph.node].count('Cast') == 2


def test_the_precision_is_stated_and_the_graph_given_is_not_changed(
    master: onnx.ModelProto,
) -> None:
    exact = specialise(master, YOLO_BASE[0], (64, 64))
    before = exact.SerializeToString(deterministic=True)
    half = to_half(exact)
    assert exact.SerializeToString(deterministic=True) == before
    facts = {entry.key: entry.value for entry in half.metadata_props}
    assert facts['anydepth.precision'] == '"fp16"'
    assert facts['anydepth.image_size'] == '[64, 64]'
    assert half.ByteSize() < 0.6 * exact.ByteSize()


def test_a_graph_with_branches_is_refused(master: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match='has branches: specialise the master'):
        to_half(master)


def test_a_graph_in_half_precision_is_refused(master: onnx.ModelProto) -> None:
    half = to_half(specialise(master, YOLO_BASE[0], (64, 64)))
    with pytest.raises(ValueError, match='in half precision already'):
        to_half(half)

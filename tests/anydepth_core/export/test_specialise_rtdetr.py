"""Specialised graphs of RT-DETR: exact, static, and holding only what their depth needs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper, TensorProto
import onnxruntime
import pytest

from anydepth_core.evaluation.complexity import multiply_adds
from anydepth_core.export.master import depth_inputs, depth_space_of
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.reference import query_errors
from anydepth_core.export.specialise import specialise
from anydepth_core.export.verify import check, verify
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.static_shapes import assert_static

FULL, BASE = (True,) * 5, (False,) * 5
SIZE = (96, 160)  # 315 tokens, 300 queries
OF_SHAPES = {'Shape', 'Range', 'Sin', 'Cos', 'Greater', 'Less', 'And', 'Expand', 'ReduceMin'}


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def weights(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


def test_specialised_graphs_equal_torch(rtdetr: Detector, rtdetr_master: onnx.ModelProto) -> None:
    depths = ('full', 'base', '1010-0d4', '0101-1d1')
    differences = verify(rtdetr, rtdetr_master, depths, [(96, 96), SIZE])
    check(differences)
    specialised = [each for each in differences if each.graph == 'specialised']
    assert len(specialised) == 2 * 2 * len(depths)
    assert max(each.tolerance for each in specialised) < 1e-3


@pytest.mark.parametrize('flags', [FULL, BASE, (False, True, False, True, True)])
def test_nothing_that_depends_on_depth_or_shape_alone_is_left(
    rtdetr_master: onnx.ModelProto, flags: tuple[bool, ...]
) -> None:
    model = specialise(rtdetr_master, flags, SIZE, 4)
    onnx.checker.check_model(model, full_check=True)
    folded = {'If', 'Cast', 'BatchNormalization', 'Identity', 'GatherElements'}
    assert not (folded | OF_SHAPES) & set(kinds(model))
    assert {tensor.data_type for tensor in model.graph.initializer} == {
        TensorProto.FLOAT,
        TensorProto.INT64,
        TensorProto.BOOL,
    }
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {'images': [1, 3, *SIZE], 'boxes': [1, 4, 300], 'scores': [1, 5, 300]}


@pytest.mark.parametrize('sampling', ['grid_sample', 'gather'])
def test_no_shape_depends_on_data(rtdetr: Detector, sampling: str) -> None:
    model = specialise(build_master(rtdetr, sampling=sampling), FULL, (256, 256))
    assert_static(model)
    (choice,) = [node for node in model.graph.node if node.op_type == 'TopK']
    count = next(t for t in model.graph.initializer if t.name == choice.input[1])
    assert numpy_helper.to_array(count).tolist() == [300]


def test_every_layer_has_its_nodes_and_the_last_alone_its_score_head(
    rtdetr_master: onnx.ModelProto,
) -> None:
    models = [specialise(rtdetr_master, BASE, SIZE, layers) for layers in (1, 2, 3, 4)]
    counts = [kinds(model) for model in models]
    assert [count['LayerNormalization'] for count in counts] == [6, 9, 12, 15]
    assert [count['GridSample'] for count in counts] == [3, 6, 9, 12]
    for shallow, deep in zip(counts, counts[1:]):
        # linear layers: 4 of self-attention (one for queries and keys), values, products, 3 of
        # sampling, one value projection per map, 2 behind, 3 box head, 2 position
        assert deep['MatMul'] - shallow['MatMul'] == 18
    sizes = [weights(model) for model in models]
    assert len({b - a for a, b in zip(sizes, sizes[1:])}) == 1 and sizes[0] < sizes[1]


def test_re_parameterised_convolutions_are_one_each(rtdetr_master: onnx.ModelProto) -> None:
    def count(flags: tuple[bool, ...], side: int) -> int:
        model = specialise(rtdetr_master, flags, SIZE)
        shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
        return sum(
            node.op_type == 'Conv' and shapes[node.input[1]] == [16, 16, side, side]
            for node in model.graph.node
        )

    blocks = 4  # of the neck, each with one essential and two refining 3x3 convolutions
    neck = (False,) * 4 + (True,)
    assert count(neck, 3) - count(BASE, 3) == 2 * blocks
    assert count(neck, 1) == count(BASE, 1)


def test_a_shallower_graph_costs_and_holds_less(rtdetr_master: onnx.ModelProto) -> None:
    full, base = (specialise(rtdetr_master, flags, SIZE, 3) for flags in (FULL, BASE))
    assert weights(base) < weights(full)
    assert len(base.graph.node) < len(full.graph.node)
    assert multiply_adds(base)['total'] < multiply_adds(full)['total']
    fewer = specialise(rtdetr_master, BASE, SIZE, 1)
    assert multiply_adds(fewer)['matmul'] < multiply_adds(base)['matmul']
    assert multiply_adds(fewer)['conv'] == multiply_adds(base)['conv']


def test_boxes_of_the_encoder_are_predicted_for_the_queries_alone(
    rtdetr_master: onnx.ModelProto,
) -> None:
    static, dynamic = (
        multiply_adds(specialise(rtdetr_master, BASE, size, 1))['matmul']
        for size in ((32, 32), (32, 64))
    )
    assert dynamic > static  # as 21 and 42 tokens are fewer than the queries, each has a box
    model = specialise(rtdetr_master, BASE, (256, 256), 1)
    constants = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    of_tokens = [
        node
        for node in model.graph.node
        if node.op_type == 'Gather' and constants.get(node.input[0]) == [1, 1344, 4]
    ]
    assert len(of_tokens) == 1  # the anchors


def test_without_a_size_the_graph_stays_dynamic(rtdetr_master: onnx.ModelProto) -> None:
    depth = depth_space_of(rtdetr_master).parse('1001-0d2')
    model = specialise(rtdetr_master, depth.stages, decoder_layers=2)
    onnx.checker.check_model(model, full_check=True)
    assert not {'If', 'BatchNormalization'} & set(kinds(model))
    master, dynamic = (
        onnxruntime.InferenceSession(each.SerializeToString()) for each in (rtdetr_master, model)
    )
    for shape in ((2, 3, 64, 32), (2, 3, 96, 224)):
        images = np.random.default_rng(1).random(shape, dtype=np.float32)
        expected = master.run(['boxes', 'scores'], {'images': images, **depth_inputs(depth)})
        actual = dynamic.run(['boxes', 'scores'], {'images': images})
        for index in range(2):
            errors = query_errors(
                *({n: x[index : index + 1] for n, x in zip('bs', y)} for y in (actual, expected))
            )
            assert max(errors.values()) < 1e-4


@pytest.mark.parametrize('layers', [0, 5, -1])
def test_an_illegal_number_of_decoder_layers_is_refused(
    rtdetr_master: onnx.ModelProto, layers: int
) -> None:
    with pytest.raises(ValueError, match=rf'decoder_layers={layers}\).*1 to 4 decoder layers'):
        specialise(rtdetr_master, FULL, SIZE, layers)


def test_decoder_layers_are_refused_where_there_is_no_decoder(master: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match='decoder_layers=3.* is not legal'):
        specialise(master, (True,) * 8, decoder_layers=3)


def test_the_evaluated_layers_run_unless_a_number_is_given(rtdetr_master: onnx.ModelProto) -> None:
    def stated(model: onnx.ModelProto) -> str:
        return {entry.key: entry.value for entry in model.metadata_props}['anydepth.depth']

    default = specialise(rtdetr_master, BASE, SIZE)
    assert stated(default) == '"0000-0d3"'
    assert default == specialise(rtdetr_master, BASE, SIZE, 3)
    assert stated(specialise(rtdetr_master, FULL, SIZE, 4)) == '"1111-1d4"'

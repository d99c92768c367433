"""Specialised graphs: exact, static, and holding only what their depth needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
import itertools
import random

import numpy as np
import onnx
from onnx import numpy_helper, TensorProto
import onnxruntime
import pytest

from anydepth_core.depth import DepthSpace
from anydepth_core.export.master import depth_space_of, state_dict_from_master
from anydepth_core.export.specialise import specialise
from tests.anydepth_core.support.static_shapes import assert_static

FULL, BASE, MIXED = (True,) * 8, (False,) * 8, (True, False, False, True, True, False, True, False)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(['boxes', 'scores'], feeds)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, dtype=np.float32)


@pytest.mark.parametrize('flags', [FULL, BASE, MIXED])
@pytest.mark.parametrize('size', [(64, 64), (64, 96)])
def test_a_specialised_graph_equals_the_master(
    master: onnx.ModelProto, flags: Sequence[bool], size: tuple[int, int]
) -> None:
    batch = images(1, 3, *size)
    expected = run(master, images=batch, depth_mask=np.array(flags))
    for actual, wanted in zip(
        run(specialise(master, flags, size), images=batch), expected, strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_nodes_need_no_names(master: onnx.ModelProto) -> None:
    unnamed = onnx.ModelProto()
    unnamed.CopyFrom(master)
    branches = [a.g for node in unnamed.graph.node for a in node.attribute if a.HasField('g')]
    for graph in (unnamed.graph, *branches):
        for node in graph.node:
            node.ClearField('name')
    batch = images(1, 3, 64, 64)
    expected = run(specialise(master, MIXED, (64, 64)), images=batch)
    for actual, wanted in zip(run(specialise(unnamed, MIXED, (64, 64)), images=batch), expected):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize('flags', [FULL, BASE, MIXED])
def test_nothing_of_the_mask_the_casts_and_the_norms_is_left(
    master: onnx.ModelProto, flags: Sequence[bool]
) -> None:
    model = specialise(master, flags, (96, 64))
    onnx.checker.check_model(model, full_check=True)
    left = {'If', 'Cast', 'BatchNormalization', 'Identity', 'Shape', 'Range', 'Gather'} & set(
        kinds(model)
    )
    assert not left
    assert {tensor.data_type for tensor in model.graph.initializer} == {
        TensorProto.FLOAT,
        TensorProto.INT64,
    }
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {'images': [1, 3, 96, 64], 'boxes': [1, 4, 126], 'scores': [1, 5, 126]}


@pytest.mark.parametrize('flags', [FULL, BASE, MIXED])
def test_no_shape_depends_on_data(master: onnx.ModelProto, flags: Sequence[bool]) -> None:
    model = specialise(master, flags, (96, 64))
    assert_static(model)
    assert not kinds(model)['TopK']


def test_every_value_and_constant_is_used(master: onnx.ModelProto) -> None:
    graph = specialise(master, MIXED, (64, 64)).graph
    used = {name for node in graph.node for name in node.input}
    used.update(output.name for output in graph.output)
    assert {tensor.name for tensor in graph.initializer} <= used
    assert all(used.intersection(node.output) for node in graph.node)


def test_without_a_size_the_graph_stays_dynamic(master: onnx.ModelProto) -> None:
    model = specialise(master, MIXED)
    onnx.checker.check_model(model, full_check=True)
    assert not {'If', 'BatchNormalization'} & set(kinds(model))
    for shape in ((2, 3, 64, 32), (1, 3, 96, 128)):
        batch = images(*shape)
        expected = run(master, images=batch, depth_mask=np.array(MIXED))
        for actual, wanted in zip(run(model, images=batch), expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_every_mask_takes_the_branches_it_names(master: onnx.ModelProto) -> None:
    def convolutions(flags: Sequence[bool]) -> int:
        return kinds(specialise(master, flags))['Conv']

    base = convolutions(BASE)
    extra = [convolutions([index == stage for index in range(8)]) - base for stage in range(8)]
    assert extra == [2, 2, 12, 12, 7, 7, 7, 7]
    for depth in random.Random(0).sample(list(depth_space_of(master).all()), 16):
        assert convolutions(depth.stages) == base + sum(itertools.compress(extra, depth.stages)), (
            depth
        )


def test_the_master_is_not_changed(master: onnx.ModelProto) -> None:
    before = master.SerializeToString(deterministic=True)
    specialise(master, BASE, (64, 64))
    assert master.SerializeToString(deterministic=True) == before


def test_a_shallower_graph_holds_fewer_weights(master: onnx.ModelProto) -> None:
    full, base = (
        sum(numpy_helper.to_array(tensor).size for tensor in model.graph.initializer)
        for model in (specialise(master, flags) for flags in (FULL, BASE))
    )
    assert base < 0.9 * full


def test_a_wrong_number_of_flags_is_refused(master: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match='3 depth flags given; the master has 8 stages'):
        specialise(master, (True,) * 3)


@pytest.mark.parametrize('size', [(0, 64), (64, 50), (-32, 64)])
def test_an_illegal_size_is_refused(master: onnx.ModelProto, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f'{size[0]}x{size[1]} is not legal'):
        specialise(master, FULL, size)


def test_a_specialised_graph_is_no_master(master: onnx.ModelProto) -> None:
    model = specialise(master, FULL, (64, 64))
    with pytest.raises(ValueError, match='master format None'):
        specialise(model, FULL, (64, 64))
    with pytest.raises(ValueError, match='master format None'):
        state_dict_from_master(model)


def test_the_depth_and_size_are_stated(master: onnx.ModelProto) -> None:
    facts = {e.key: e.value for e in specialise(master, MIXED, (64, 96)).metadata_props}
    space: DepthSpace = depth_space_of(master)
    assert facts['anydepth.depth'] == f'"{space.format(space.parse("1001-1010"))}"'
    assert facts['anydepth.image_size'] == '[64, 96]'

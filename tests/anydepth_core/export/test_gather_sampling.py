"""GridSample as index arithmetic: the same values, in every graph that has it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import onnx
from onnx import helper, TensorProto
import onnxruntime
import pytest

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import write_bundle
from anydepth_core.export.gather_sampling import gather_sampling
from anydepth_core.export.opset import lower_opset
from anydepth_core.export.precision import to_half
from anydepth_core.export.specialise import specialise
from anydepth_core.runtime.tensorrt.cache import Environment
from anydepth_core.runtime.tensorrt.products import Network


def sampler(maps: tuple[int, ...], grid: tuple[int, ...], **attributes: object) -> onnx.ModelProto:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (
            ('maps', maps),
            ('grid', grid),
            ('one', (*maps[:2], *grid[1:3])),
            ('two', (*maps[:2], *grid[1:3])),
        )
    ]
    nodes = [
        helper.make_node('GridSample', ['maps', 'grid'], ['one'], **attributes),
        helper.make_node('Relu', ['maps'], ['bright']),
        helper.make_node('GridSample', ['bright', 'grid'], ['two'], mode='bilinear'),
    ]
    graph = helper.make_graph(nodes, 'sampler', values[:2], values[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    return session.run(None, feeds)


def kinds(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    reach=st.sampled_from([0.5, 1.0, 3.0]),
    seed=st.integers(0, 1000),
)
def test_points_in_and_outside_the_map_give_the_same(count, channels, height, width, reach, seed):
    random = np.random.default_rng(seed)
    maps = random.normal(size=(count, channels, height, width)).astype(np.float32)
    grid = random.uniform(-reach, reach, (count, 5, 3, 2)).astype(np.float32)
    grid[0, 0] = [[-1, -1], [1, 1], [0, 0]]
    model = sampler(maps.shape, grid.shape)
    feeds = {'maps': maps, 'grid': grid}
    for expected, found in zip(run(model, feeds), run(gather_sampling(model), feeds), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('layers', [1, 3])
def test_a_detector_without_gridsample_finds_the_same(rtdetr_master, layers):
    model = specialise(rtdetr_master, (True,) * 5, (96, 160), layers)
    rewritten = gather_sampling(model)
    onnx.checker.check_model(rewritten, full_check=True)
    assert 'GridSample' in kinds(model) and 'GridSample' not in kinds(rewritten)
    images = np.random.default_rng(0).random((1, 3, 96, 160), np.float32)
    for expected, found in zip(run(model, {'images': images}), run(rewritten, {'images': images})):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_what_follows_the_rewriting_takes_it(rtdetr_master):
    rewritten = gather_sampling(specialise(rtdetr_master, (False,) * 5, (64, 64), 1))
    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    older = lower_opset(rewritten, 17)
    assert 'GridSample' not in kinds(older) | kinds(to_half(rewritten))
    for one, other in zip(run(rewritten, {'images': images}), run(older, {'images': images})):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
    assert all(np.isfinite(each).all() for each in run(to_half(rewritten), {'images': images}))


def test_a_graph_without_gridsample_is_left_alone(rtdetr_master):
    rewritten = gather_sampling(specialise(rtdetr_master, (True,) * 5, (64, 64), 1))
    assert gather_sampling(rewritten) is rewritten


@pytest.mark.parametrize(
    'attributes', [{'mode': 'nearest'}, {'padding_mode': 'border'}, {'align_corners': 1}]
)
def test_other_sampling_is_refused(attributes):
    with pytest.raises(ValueError, match='not bilinear with zeros outside: export'):
        gather_sampling(sampler((1, 1, 4, 4), (1, 2, 2, 2), **attributes))


def test_a_graph_of_open_size_is_refused(rtdetr_master):
    with pytest.raises(ValueError, match='not known: specialise the master to one input size'):
        gather_sampling(specialise(rtdetr_master, (True,) * 5))


@pytest.mark.parametrize(('version', 'kept'), [('10.3.0', True), ('10.13.3.9', False)])
def test_tensorrt_that_samples_wrongly_is_given_index_arithmetic(
    tmp_path, rtdetr, rtdetr_master, version, kept
):
    onnx.save(rtdetr_master, tmp_path / 'master.onnx')
    point = OperatingPoint(rtdetr.depth_space.full, (64, 64))
    bundle = write_bundle(
        tmp_path / 'bundle',
        master_path=tmp_path / 'master.onnx',
        model_name=rtdetr.name,
        variant=rtdetr.variant,
        space=rtdetr.depth_space,
        class_names=[f'class {number}' for number in range(rtdetr.num_classes)],
        image_size=(64, 64),
        ladder=[point],
        resize=rtdetr.resize,
        suppression=rtdetr.suppression,
    )
    environment = Environment(version, 'Orin', '8.7', '12.6')
    for precision in ('fp32', 'fp16'):
        graph = Network(bundle, point, precision, environment, None).graph()
        assert ('GridSample' in kinds(graph)) is kept

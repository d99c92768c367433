"""``build.py`` drives NVIDIA's own parser and builder, which need no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest

from anydepth_core.export.bundle import default_bundle_path, load_bundle
from anydepth_core.export.gather_sampling import gather_sampling
from anydepth_core.export.preprocessing import preprocessing_graph
from anydepth_core.runtime.level_graphs import LevelGraphs
from anydepth_core.runtime.tensorrt.build import build_plan, MIB
from anydepth_core.runtime.tensorrt.library import make_log
from tests.anydepth_core.support.tensorrt_rtx import trt

pytestmark = pytest.mark.tensorrt_rtx

LOG = make_log(trt)  # TensorRT keeps the first of a process


def build(model: onnx.ModelProto, folder: Path, precision: str = 'fp32') -> bytes:
    content = model.SerializeToString()
    return build_plan(trt, LOG, content, 'it', precision, 256 * MIB, folder / 'timing.cache')


@pytest.mark.parametrize('level', [0, -1])
def test_the_default_bundle_becomes_plans_that_are_smaller_in_half_precision(tmp_path, level):
    bundle = load_bundle(default_bundle_path())
    graphs, point = LevelGraphs(bundle), bundle.ladder.points[level]
    full, half = (
        build(graphs.graph(point, precision), tmp_path, precision)
        for precision in ('fp32', 'fp16')
    )
    assert 0 < len(half) < len(full)


@pytest.mark.parametrize('resize', ['letterbox', 'stretch'])
@pytest.mark.parametrize('camera', [(480, 640), (1080, 1920), (320, 320)])
def test_preprocessing_becomes_a_plan_of_no_size(tmp_path, camera, resize):
    plan = build(preprocessing_graph(camera, (320, 320), resize), tmp_path)
    assert 0 < len(plan) < MIB


def test_index_arithmetic_in_place_of_gridsample_becomes_a_plan(tmp_path):
    maps, grid = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (('maps', (8, 32, 20, 20)), ('grid', (8, 300, 4, 2)))
    )
    sampled = helper.make_tensor_value_info('sampled', TensorProto.FLOAT, (8, 32, 300, 4))
    node = helper.make_node('GridSample', ['maps', 'grid'], ['sampled'])
    model = helper.make_model(
        helper.make_graph([node], 'sampler', [maps, grid], [sampled]),
        opset_imports=[helper.make_opsetid('', 18)],
        ir_version=8,
    )
    assert build(gather_sampling(model), tmp_path)


def test_what_it_refuses_is_an_error(tmp_path, caplog):
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, count))
        for name, count in (('images', 6000), ('boxes', 5000))
    ]
    node = helper.make_node('TopK', ['images', 'count'], ['boxes', 'places'])
    count = numpy_helper.from_array(np.array([5000]), 'count')
    graph = helper.make_graph([node], 'too_many', values[:1], values[1:], [count])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    with pytest.raises(RuntimeError, match='cannot (parse|build) it: .*; .*onnxruntime'):
        build(model, tmp_path)
    assert '3840' in caplog.text  # without a GPU the driver that is missing is complained of first

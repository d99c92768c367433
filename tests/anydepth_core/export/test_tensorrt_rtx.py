"""NVIDIA's parser and builder accept every graph that is served, in both precisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest

from anydepth_core.export.bundle import default_bundle_path, load_bundle
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.precision import to_half
from anydepth_core.export.specialise import specialise
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import calm_rtdetr, lively_detector
from tests.anydepth_core.support.tensorrt_rtx import build

pytestmark = pytest.mark.tensorrt_rtx

DETR_DEPTHS = [((True,) * 5, 3), ((False,) * 5, 2), ((True, False, False, True, True), 1)]


def assert_builds(model: onnx.ModelProto) -> None:
    """Build a float32 graph and its half precision form; the latter is smaller."""
    assert build(to_half(model)) < build(model)


@pytest.mark.parametrize('level', range(len(load_bundle(default_bundle_path()).ladder)))
def test_every_level_of_the_default_bundle_builds(level: int) -> None:
    bundle = load_bundle(default_bundle_path())
    point = bundle.ladder[level]
    master = onnx.load(bundle.master_path)
    assert_builds(specialise(master, point.depth.stages, point.image_size))


@pytest.mark.parametrize('depth', DETR_DEPTHS)
def test_a_tiny_rtdetr_builds(
    rtdetr_master: onnx.ModelProto, depth: tuple[Sequence[bool], int]
) -> None:
    assert_builds(specialise(rtdetr_master, depth[0], (96, 160), depth[1]))


@pytest.mark.parametrize(
    'detector',
    [calm_rtdetr('published'), calm_rtdetr(bottleneck=True), lively_detector('switch')],
    ids=['rtdetr_published', 'rtdetr_bottleneck', 'yolo_switch'],
)
def test_other_layouts_build(detector: Detector) -> None:
    flags = (True,) * len(detector.depth_space.stages)
    assert_builds(specialise(build_master(detector), flags, (96, 96)))


def test_sampling_by_gather_builds(rtdetr: Detector) -> None:
    master = build_master(rtdetr, sampling='gather')
    assert_builds(specialise(master, (True,) * 5, (96, 160)))


def test_opset_17_builds(rtdetr_master: onnx.ModelProto) -> None:
    assert_builds(specialise(rtdetr_master, (False,) * 5, (64, 64), 1, opset=17))


def test_what_the_builder_refuses_is_noticed() -> None:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, count))
        for name, count in (('images', 6000), ('boxes', 5000), ('scores', 6000))
    ]
    nodes = [
        helper.make_node('TopK', ['images', 'count'], ['boxes', 'places']),
        helper.make_node('Relu', ['images'], ['scores']),
    ]
    count = numpy_helper.from_array(np.array([5000]), 'count')
    graph = helper.make_graph(nodes, 'too_many', values[:1], values[1:], [count])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    with pytest.raises(AssertionError, match='3840'):
        build(model)

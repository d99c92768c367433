"""Multiply-adds: equal to the published layouts' figures, refused where they cannot be counted."""

from __future__ import annotations

import math

import onnx
from onnx import helper, TensorProto
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.depth import DepthConfig
from anydepth_core.evaluation.complexity import multiply_adds
from anydepth_core.evaluation.counting import count_multiply_adds, count_parameters
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.specialise import specialise
from anydepth_core.nn.fuse import fuse

FULL, BASE = (True,) * 8, (False,) * 8


@pytest.fixture(scope='module')
def masters() -> dict[str, onnx.ModelProto]:
    return {
        variant: build_master(build_detector('anydepth_yolov12n', variant))
        for variant in ('orig', 'switch')
    }


# billions, 80 classes; the figures of a count on the published model, which includes 0.0005 for
# the expectation over the box bins, a 1x1 convolution there
@pytest.mark.parametrize(
    ('variant', 'size', 'flags', 'conv', 'matmul'),
    [
        ('orig', 640, FULL, 3.748, 0.737),
        ('orig', 640, BASE, 2.993, 0.492),
        ('orig', 320, FULL, 0.937, 0.046),
        ('orig', 320, BASE, 0.748, 0.031),
        ('switch', 640, FULL, 3.748, 0.737),
        ('switch', 640, BASE, 3.190, 0.492),
    ],
)
def test_the_published_layouts_cost_what_is_known(
    masters: dict[str, onnx.ModelProto],
    variant: str,
    size: int,
    flags: tuple[bool, ...],
    conv: float,
    matmul: float,
) -> None:
    counts = multiply_adds(specialise(masters[variant], flags, (size, size)))
    assert counts['conv'] / 1e9 == pytest.approx(conv, abs=1.1e-3)
    assert counts['matmul'] / 1e9 == pytest.approx(matmul, abs=0.5e-3)
    assert counts['total'] == counts['conv'] + counts['matmul']


def test_each_refinement_saves_what_is_known(masters: dict[str, onnx.ModelProto]) -> None:
    def total(flags: tuple[bool, ...]) -> float:
        return multiply_adds(specialise(masters['orig'], flags, (640, 640)))['total'] / 1e9

    full = total(FULL)
    savings = [full - total(tuple(index != stage for index in range(8))) for stage in range(8)]
    expected = [0.085, 0.085, 0.287, 0.202, 0.085, 0.085, 0.085, 0.085]
    assert savings == pytest.approx(expected, abs=0.5e-3)


def test_a_graph_has_the_convolutions_of_the_fused_detector(
    masters: dict[str, onnx.ModelProto],
) -> None:
    with torch.device('meta'):
        detector = build_detector('anydepth_yolov12n')
    depth = DepthConfig(tuple(bit == '1' for bit in '10100101'))
    graph = specialise(masters['orig'], depth.stages, (320, 320))
    assert multiply_adds(graph)['conv'] == count_multiply_adds(detector, depth, (320, 320))['conv']
    used = {name for node in graph.graph.node if node.op_type == 'Conv' for name in node.input}
    in_graph = sum(math.prod(t.dims) for t in graph.graph.initializer if t.name in used)
    not_convolved = ('gamma', 'dfl.conv.weight')
    named = fuse(detector, depth).named_parameters()
    elsewhere = sum(weight.numel() for name, weight in named if name.endswith(not_convolved))
    assert count_parameters(detector, depth) - elsewhere == in_graph


def products(*shape: int | str) -> onnx.ModelProto:
    def value(name: str, *dims: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    nodes = [
        helper.make_node('MatMul', ['x', 'y'], ['z'], name='product'),
        helper.make_node('Gemm', ['a', 'b'], ['c'], transA=1),
        helper.make_node('Relu', ['c'], ['d']),
    ]
    graph = helper.make_graph(
        nodes,
        'toy',
        [value('x', *shape), value('y', 7, 11), value('a', 5, 2), value('b', 5, 3)],
        [value('z', *shape[:-1], 11), value('d', 2, 3)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)


def test_matrix_products_count_their_common_axis() -> None:
    assert multiply_adds(products(4, 3, 7)) == {
        'conv': 0,
        'matmul': 4 * 3 * 7 * 11 + 5 * 2 * 3,
        'total': 954,
    }


def test_a_dynamic_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="at node 'product' is not static"):
        multiply_adds(products('batch', 3, 7))


def test_a_master_is_refused(masters: dict[str, onnx.ModelProto]) -> None:
    with pytest.raises(ValueError, match='holds branches'):
        multiply_adds(masters['orig'])

"""Recording: every torch function a detector uses has an ONNX form; others are refused."""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, TensorProto
import onnxruntime
import pytest
import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.export.recorder import DynamicSize, Recorder, Weights

SHAPES = ((1, 4, 3, 5), (2, 4, 6, 8))

Forward = Callable[[torch.Tensor], Any]


def recorded(forward: Forward, sampling: str = 'grid_sample') -> onnx.ModelProto:
    """Return a graph that takes maps (batch, 4, height, width)."""
    shapes = None
    for shape in SHAPES:
        maps = torch.rand(*shape)
        recorder = Recorder(Weights({}, half=False), maps, shapes, sampling)
        with torch.no_grad(), recorder:
            results = forward(maps)
            for index, result in enumerate(several(results)):
                dims = [None if isinstance(size, DynamicSize) else size for size in result.shape]
                recorder.graph.output(recorder.value(result), dims, f'y{index}')
        shapes = recorder.shapes
    inputs = [helper.make_tensor_value_info('images', TensorProto.FLOAT, ('b', 4, 'h', 'w'))]
    return helper.make_model(
        recorder.graph.proto('recorded', inputs),
        opset_imports=[helper.make_opsetid('', 18)],
        ir_version=8,
    )


def several(results: Any) -> tuple[torch.Tensor, ...]:
    return results if isinstance(results, (tuple, list)) else (results,)


def run(model: onnx.ModelProto, maps: torch.Tensor) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {'images': maps.numpy()})


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def chosen(x: torch.Tensor, queries: int) -> list[torch.Tensor]:
    scores = tokens(x).amax(-1)
    values, indices = scores.topk(min(queries, scores.shape[1]), 1)
    return [values.detach(), tokens(x).gather(1, indices.unsqueeze(-1).expand(-1, -1, 4))]


WEIGHT = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) - 0.5

FORWARDS: dict[str, Forward] = {
    'linear': lambda x: F.linear(tokens(x), WEIGHT, WEIGHT[:, 0]),
    'linear without bias': lambda x: F.linear(tokens(x), WEIGHT),
    'layer_norm': lambda x: F.layer_norm(tokens(x), (4,), WEIGHT[0], WEIGHT[1], 1e-3),
    'layer_norm of two axes': lambda x: F.layer_norm(
        tokens(x).unflatten(-1, (2, 2)), (2, 2), *torch.ones(2, 2, 2)
    ),
    'gelu': lambda x: F.gelu(8 * x - 4),
    'relu': lambda x: nn.ReLU()(x - 0.5),
    'max_pool2d': lambda x: F.max_pool2d(-x, 3, 2, 1),
    'avg_pool2d': lambda x: nn.AvgPool2d(2)(x),
    'avg_pool2d with padding': lambda x: F.avg_pool2d(x, 3, 2, 1),
    'comparisons': lambda x: torch.where((x > 0.2) & (x < 0.7), x, -1.0),
    'all': lambda x: torch.where((x > 0.2).all(1, keepdim=True), x, math.inf),
    'unary': lambda x: (-x).sin() + x.cos() * torch.log(x + 1),
    'clamp': lambda x: x.clamp(0.2, 0.8) + x.clamp(min=0.5) * x.clamp(max=0.4),
    'numbers on the left': lambda x: 1 - x + 2 * x,
    'split': lambda x: x.split(3, 1)[0] + x.chunk(2, 1)[1].split(1, 1)[1],
    'new axes': lambda x: x[:, :2, None, None, 1:],
    'flatten of inner axes': lambda x: x.unflatten(-1, (-1, 1)).flatten(1, 2),
    'flatten of the first axes': lambda x: x.unsqueeze(1).transpose(1, 2).flatten(0, 1),
    'unsqueeze': lambda x: x.unsqueeze(-1) * x.sum(1).unsqueeze(1).unsqueeze(-1),
    'amax': lambda x: x.amax(-1) + x.amax(2, keepdim=True).sum(-1),
    'more queries than tokens': lambda x: chosen(x, 1000),
    'queries': lambda x: chosen(x, 7),
}


@pytest.mark.parametrize('name', FORWARDS)
def test_a_recorded_function_equals_torch_at_other_sizes(name: str) -> None:
    model = recorded(FORWARDS[name])
    for shape in ((3, 4, 4, 7), (1, 4, 9, 2)):
        maps = torch.rand(*shape, generator=torch.Generator().manual_seed(1))
        for actual, expected in zip(run(model, maps), several(FORWARDS[name](maps)), strict=True):
            np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('sampling', ['grid_sample', 'gather'])
def test_sampling_equals_torch_inside_at_the_border_and_outside(sampling: str) -> None:
    def sample(x: torch.Tensor) -> torch.Tensor:
        grid = x[:, :2].permute(0, 2, 3, 1) * 4 - 2
        return F.grid_sample(x, grid, align_corners=False)

    model = recorded(sample, sampling)
    assert ('GridSample' in {node.op_type for node in model.graph.node}) == (
        sampling == 'grid_sample'
    )
    maps = torch.rand(3, 4, 5, 7, generator=torch.Generator().manual_seed(1))
    edges = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])  # -2, -1, 0, 1 and 2 in the grid
    maps[:, 0, :, 0], maps[:, 1, :, 0] = edges, edges.flip(0)
    expected = sample(maps)
    assert (expected == 0).any() and (expected != 0).any()
    np.testing.assert_allclose(run(model, maps)[0], expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ('forward', 'message'),
    [
        (lambda x: torch.linalg.norm(x), 'linalg_norm'),
        (lambda x: x.mul_(2), 'mul_'),
        (lambda x: x[:, 0], 'slices'),
        (lambda x: x.to(torch.float64), 'change from torch.float32'),
        (lambda x: x[: len(x) - 1], 'computes with a size'),
        (lambda x: x.reshape(x.shape[0], -1, x.shape[2] * 2), 'computes with a size'),
        (lambda x: F.batch_norm(x, None, None, training=True), 'eval'),
        (lambda x: F.relu(x, inplace=True), 'inplace'),
        (lambda x: F.gelu(x, approximate='tanh'), 'exact gelu'),
        (lambda x: F.max_pool2d(x, 2, ceil_mode=True), 'ceil_mode'),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=3), 'divisor_override'),
        (
            lambda x: F.grid_sample(
                x, x[:, :2].permute(0, 2, 3, 1), 'nearest', align_corners=False
            ),
            'bilinear',
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused(
    forward: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message), torch.no_grad():
        images = torch.rand(2, 3, 32, 64)
        with Recorder(Weights({}, half=False), images, [(1, 3, 64, 32)] * 2):
            forward(images)

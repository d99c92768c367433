"""A tiny detector as a master ONNX, and a bundle of it, for tests of the run time.

Each 32x32 cell of the network input is one anchor with a 48x48 box around the centre of the cell.
A cell that is purely red, green or blue is an object of that class. Refinements raise the scores,
base norms lower them. A depth space with a decoder gives the toy one, as RT-DETR has: every layer
raises the scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from anydepth_core.depth import DepthSpace, OperatingPoint
from anydepth_core.export.bundle import Bundle, write_bundle
from anydepth_core.export.master import write_facts

SPACE = DepthSpace(('c2', 'c4', 'p3'), 2)
CLASS_NAMES = ('red', 'green', 'blue')
IMAGE_SIZE = (96, 96)
LADDER = (
    OperatingPoint(SPACE.base, (64, 64), (('AP', 0.2),)),
    OperatingPoint(SPACE.base, IMAGE_SIZE, (('AP', 0.3),)),
    OperatingPoint(SPACE.full, IMAGE_SIZE, (('AP', 0.4),)),
)
DETR_SPACE = DepthSpace(
    ('c2', 'c3', 'c4', 'c5', 'neck'), 4, decoder_layers=3, max_decoder_layers=4
)
DETR_LADDER = (
    OperatingPoint(DETR_SPACE.base, (64, 64), (('AP', 0.2),)),
    OperatingPoint(DETR_SPACE.base, IMAGE_SIZE, (('AP', 0.3),)),
    OperatingPoint(DETR_SPACE.full, IMAGE_SIZE, (('AP', 0.4),)),
)


def write_toy_bundle(directory: Path, **changes: Any) -> Bundle:
    """Write a bundle of the toy detector; ``changes`` replaces arguments of ``write_bundle``."""
    master = directory.parent / f'{directory.name}-master.onnx'
    onnx.save(changes.pop('master', None) or toy_master(), master)
    arguments = {
        'master_path': master,
        'model_name': 'toy',
        'variant': 'orig',
        'space': SPACE,
        'class_names': CLASS_NAMES,
        'image_size': IMAGE_SIZE,
        'ladder': LADDER,
        'metadata': {'licence': 'Apache-2.0'},
    }
    return write_bundle(directory, **{**arguments, **changes})


def write_toy_detr_bundle(directory: Path, **changes: Any) -> Bundle:
    """Write a bundle of the toy with what RT-DETR needs: decoder, stretch, no suppression."""
    arguments = {
        'master': toy_master(DETR_SPACE),
        'space': DETR_SPACE,
        'ladder': DETR_LADDER,
        'resize': 'stretch',
        'suppression': 'none',
    }
    return write_toy_bundle(directory, **{**arguments, **changes})


def picture(*cells: tuple[int, int, int], size: tuple[int, int] = (96, 96)) -> np.ndarray:
    """Black (H, W, 3) uint8 BGR image with 32x32 squares; a cell is (row, column, label)."""
    image = np.zeros((*size, 3), np.uint8)
    for row, column, label in cells:
        image[32 * row : 32 * row + 32, 32 * column : 32 * column + 32, 2 - label] = 255
    return image


def toy_master(space: DepthSpace = SPACE) -> onnx.ModelProto:
    """Build the master ONNX of the toy detector."""
    nodes = [_node('AveragePool', ['images'], ['/x0'], kernel_shape=[32, 32], strides=[32, 32])]
    weights = []
    for index, name in enumerate(space.stages):
        weights += [
            _weight(f'{name}.essential.weight', np.eye(3)[..., None, None], np.float16),
            _weight(f'/{name}/index', np.array(index), np.int64),
        ]
        nodes += [
            _node('Cast', [f'{name}.essential.weight'], [f'/{name}/weight'], to=TensorProto.FLOAT),
            _node('Conv', [f'/x{index}', f'/{name}/weight'], [f'/{name}/essential']),
            _node('Gather', ['depth_mask', f'/{name}/index'], [f'/{name}/flag']),
            _node(
                'If',
                [f'/{name}/flag'],
                [f'/x{index + 1}'],
                then_branch=_full_branch(name),
                else_branch=_base_branch(name),
            ),
        ]
    head_nodes, head_weights = _head(f'/x{len(space.stages)}', space.most_decoder_layers or 1)
    graph = helper.make_graph(
        nodes + head_nodes,
        'toy',
        _inputs(space),
        [
            helper.make_tensor_value_info('boxes', TensorProto.FLOAT, ['batch', 4, 'anchors']),
            helper.make_tensor_value_info('scores', TensorProto.FLOAT, ['batch', 3, 'anchors']),
        ],
        weights + head_weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    write_facts(
        model,
        {
            'format': 1,
            'name': 'toy',
            'variant': 'orig',
            'num_classes': len(CLASS_NAMES),
            'stages': list(space.stages),
            'backbone_stages': space.backbone_stages,
            'decoder_layers': space.decoder_layers,
            'max_decoder_layers': space.max_decoder_layers,
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _inputs(space: DepthSpace) -> list[onnx.ValueInfoProto]:
    kinds: dict[str, tuple[int, list[int | str]]] = {
        'images': (TensorProto.FLOAT, ['batch', 3, 'height', 'width']),
        'depth_mask': (TensorProto.BOOL, [len(space.stages)]),
    }
    if space.decoder_layers is not None:
        kinds['decoder_layers'] = (TensorProto.INT64, [])
    return [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()]


def _full_branch(name: str) -> onnx.GraphProto:
    """Norm, then the refinement: a tenth of its input is added."""
    nodes = [
        _norm_node(name, 'norm', f'/{name}/full/norm'),
        _node(
            'Cast', [f'{name}.refinement.weight'], [f'/{name}/full/weight'], to=TensorProto.FLOAT
        ),
        _node('Conv', [f'/{name}/full/norm', f'/{name}/full/weight'], [f'/{name}/full/conv']),
        _node('Add', [f'/{name}/full/norm', f'/{name}/full/conv'], [f'/{name}/full/out']),
    ]
    refinement = _weight(f'{name}.refinement.weight', 0.1 * np.eye(3)[..., None, None], np.float16)
    return _branch(name, 'full', nodes, [*_norm_weights(name, 'norm', 0.0), refinement])


def _base_branch(name: str) -> onnx.GraphProto:
    nodes = [_norm_node(name, 'norm_base', f'/{name}/base/out')]
    return _branch(name, 'base', nodes, _norm_weights(name, 'norm_base', -0.02))


def _branch(
    name: str, kind: str, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]
) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(f'/{name}/{kind}/out', TensorProto.FLOAT, None)
    return helper.make_graph(nodes, f'{name}_{kind}', [], [output], weights)


def _norm_node(name: str, norm: str, output: str) -> onnx.NodeProto:
    parameters = [
        f'{name}.{norm}.{part}' for part in ('weight', 'bias', 'running_mean', 'running_var')
    ]
    return _node('BatchNormalization', [f'/{name}/essential', *parameters], [output], epsilon=1e-3)


def _norm_weights(name: str, norm: str, bias: float) -> list[onnx.TensorProto]:
    values = {'weight': 1.0, 'bias': bias, 'running_mean': 0.0, 'running_var': 0.999}
    return [_weight(f'{name}.{norm}.{part}', np.full(3, value)) for part, value in values.items()]


def _decoder(layers: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Each layer after the first adds to the logits, if so many are asked for."""
    nodes, weights = [], [_weight('/decoder/gain', np.array(0.3))]
    for layer in range(2, layers + 1):
        name, before = f'/decoder/{layer}', f'/logits/{layer - 1}'
        weights.append(_weight(f'{name}/number', np.array(layer), np.int64))
        more = _node('Add', [before, '/decoder/gain'], [f'{name}/full/out'])
        same = _node('Identity', [before], [f'{name}/base/out'])
        nodes += [
            _node('GreaterOrEqual', ['decoder_layers', f'{name}/number'], [f'{name}/flag']),
            _node(
                'If',
                [f'{name}/flag'],
                [f'/logits/{layer}'],
                then_branch=_branch(f'decoder/{layer}', 'full', [more], []),
                else_branch=_branch(f'decoder/{layer}', 'base', [same], []),
            ),
        ]
    return nodes, weights if layers > 1 else []


def _head(
    features: str, decoder_layers: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Scores from the colour of each cell, boxes from its place."""
    decoder_nodes, decoder_weights = _decoder(decoder_layers)
    weights = [
        *decoder_weights,
        _weight('head.weight', (12 * np.eye(3) - 6)[..., None, None]),
        _weight('head.bias', np.full(3, -3.0)),
        _weight('/three', np.array([0, 3, -1]), np.int64),
        _weight('/four', np.array([0, 4, -1]), np.int64),
        _weight('/rows', np.array(2), np.int64),
        _weight('/columns', np.array(3), np.int64),
        _weight('/first', np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)),
        *(
            _weight(f'/{key}', np.array(value))
            for key, value in (('zero', 0), ('one', 1), ('half', 0.5))
        ),
        *(_weight(f'/{key}', np.array(value)) for key, value in (('stride', 32), ('side', 48))),
    ]
    nodes = [
        _node('Conv', [features, 'head.weight', 'head.bias'], ['/logits/1']),
        *decoder_nodes,
        _node('Sigmoid', [f'/logits/{decoder_layers}'], ['/sigmoid']),
        _node('Reshape', ['/sigmoid', '/three'], ['scores']),
        _node('Conv', [features, '/first'], ['/plane']),
        _node('Mul', ['/plane', '/zero'], ['/zeros']),
        _node('Add', ['/zeros', '/one'], ['/ones']),
    ]
    for axis in ('columns', 'rows'):
        nodes += [
            _node('CumSum', ['/ones', f'/{axis}'], [f'/{axis}/count']),
            _node('Sub', [f'/{axis}/count', '/half'], [f'/{axis}/centre']),
            _node('Mul', [f'/{axis}/centre', '/stride'], [f'/{axis}/px']),
        ]
    nodes += [
        _node('Mul', ['/ones', '/side'], ['/sides']),
        _node('Concat', ['/columns/px', '/rows/px', '/sides', '/sides'], ['/planes'], axis=1),
        _node('Reshape', ['/planes', '/four'], ['boxes']),
    ]
    return nodes, weights


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs, name=f'node {outputs[0]}', **attributes)


def _weight(name: str, value: np.ndarray, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)

"""Rewrite a flat graph so that it computes the same values with fewer operations.

Weights are computed in float64 and stored in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from anydepth_core.export.flat_graph import FlatGraph
from anydepth_core.export.rows import select_rows_first

_DEFAULT_EPSILON = 1e-5  # of BatchNormalization
_SAME = ('strides', 'group', 'dilations', 'auto_pad')  # attributes of convolutions of one sum


def fold(graph: FlatGraph) -> None:
    """Fold norms, merge parallel convolutions, select rows before row-wise operations."""
    for rewrite in (fold_norms, merge_convolutions, select_rows_first):
        rewrite(graph)
        graph.prune()


def fold_norms(graph: FlatGraph) -> None:
    """Fold every norm that alone uses the result of a convolution into its weight and bias."""
    uses, producers = graph.uses(), graph.producers()
    for node in graph.nodes:
        conv = producers.get(node.input[0]) if node.op_type == 'BatchNormalization' else None
        if conv is not None and conv.op_type == 'Conv' and uses[conv.output[0]] == 1:
            _fold_norm(graph, conv, node)


def merge_convolutions(graph: FlatGraph) -> None:
    """Merge two convolutions of one map of which only the sum is used into one convolution.

    The smaller kernel is padded to the size of the larger (RepVGG, arXiv 2101.03697).
    """
    uses, producers = graph.uses(), graph.producers()
    for node in graph.nodes:
        if node.op_type != 'Add':
            continue
        convs = [producers[name] for name in node.input if name in producers and uses[name] == 1]
        if len(convs) == 2 and _mergeable(graph, *convs):
            convs.sort(key=lambda conv: graph.constants[conv.input[1]].size, reverse=True)
            _merge(graph, convs, node)


def _fold_norm(graph: FlatGraph, conv: onnx.NodeProto, norm: onnx.NodeProto) -> None:
    """Put a convolution with the norm folded in place of the norm, if all operands are known."""
    if not all(name in graph.constants for name in (*conv.input[1:], *norm.input[1:])):
        return
    weight, bias = _weight_and_bias(graph, conv)
    gain, offset, mean, variance = (
        graph.constants[name].astype(np.float64) for name in norm.input[1:]
    )
    factor = gain / np.sqrt(variance + _attribute(norm, 'epsilon', _DEFAULT_EPSILON))
    weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    _replace_by_conv(graph, norm, conv, weight, (bias - mean) * factor + offset)


def _mergeable(graph: FlatGraph, a: onnx.NodeProto, b: onnx.NodeProto) -> bool:
    """Whether two nodes are convolutions of one map that differ in weights and kernel only."""
    return (
        a.op_type == b.op_type == 'Conv'
        and a.input[0] == b.input[0]
        and all(name in graph.constants for name in (*a.input[1:], *b.input[1:]))
        and all(_attribute(a, name, None) == _attribute(b, name, None) for name in _SAME)
        and all(_is_centred(graph, conv) for conv in (a, b))
    )


def _is_centred(graph: FlatGraph, conv: onnx.NodeProto) -> bool:
    """Whether an undilated square kernel of odd side is padded by half of its side."""
    sides = graph.constants[conv.input[1]].shape[2:]
    pads = _attribute(conv, 'pads', [0] * 2 * len(sides))
    dilations = _attribute(conv, 'dilations', [1] * len(sides))
    return (
        len(set(sides)) == 1
        and sides[0] % 2 == 1
        and list(pads) == [side // 2 for side in sides] * 2
        and set(dilations) == {1}
    )


def _merge(graph: FlatGraph, convs: list[onnx.NodeProto], add: onnx.NodeProto) -> None:
    """Put the sum of two convolutions, the first with the larger kernel, in place of its node."""
    (weight, bias), (small, small_bias) = (_weight_and_bias(graph, conv) for conv in convs)
    margins = [(side - own) // 2 for side, own in zip(weight.shape, small.shape)]
    padded = np.pad(small, [(margin, margin) for margin in margins])
    _replace_by_conv(graph, add, convs[0], weight + padded, bias + small_bias)


def _weight_and_bias(graph: FlatGraph, conv: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias, zero where there is none, of a convolution in float64."""
    weight, *bias = (graph.constants[name].astype(np.float64) for name in conv.input[1:])
    return weight, bias[0] if bias else np.zeros(len(weight))


def _replace_by_conv(
    graph: FlatGraph,
    node: onnx.NodeProto,
    like: onnx.NodeProto,
    weight: np.ndarray,
    bias: np.ndarray,
) -> None:
    """Turn a node into a convolution of the map that another one has, with other weights."""
    output = node.output[0]
    node.CopyFrom(like)
    node.output[:] = [output]
    node.input[1:] = [f'{output}/weight', f'{output}/bias']
    for name, value in zip(node.input[1:], (weight, bias)):
        graph.constants[name] = value.astype(np.float32)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = [a for a in node.attribute if a.name == name]
    return helper.get_attribute_value(found[0]) if found else default

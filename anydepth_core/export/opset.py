"""Write a specialised graph in an older opset, for builders that know no newer one.

TensorRT 8.6 reads opset 17 at most. An operator whose definition did not change since then is
taken as it is; the four that changed in opset 18 and that detectors use are rewritten; any other
is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

OLDEST = 17

_ONNX = ('', 'ai.onnx')  # two names of one domain

_Constants = Mapping[str, onnx.TensorProto]


def lower_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return a model that computes the same with the operators of an older opset.

    Args:
        model: a graph without branches; it is not changed.
        opset: the opset to write, 17 or the model's own.

    Raises:
        ValueError: if that opset is not offered, or an operator has no form in it.
    """
    own = opset_of(model)
    if not OLDEST <= opset <= own:
        raise ValueError(f'opset {opset} is not offered: give a number from {OLDEST} to {own}')
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    for entry in lowered.opset_import:
        if entry.domain in _ONNX:
            entry.version = opset
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in lowered.graph.node:
        if _version(node, own) != _version(node, opset):
            _lower(node, constants, opset)
    _drop_unused_constants(lowered.graph)
    return lowered


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a model uses."""
    return next(entry.version for entry in model.opset_import if entry.domain in _ONNX)


def _version(node: onnx.NodeProto, opset: int) -> int | None:
    """Opset that defined the operator of a node as it is in another, None if it is not in that."""
    try:
        return int(defs.get_schema(node.op_type, opset, node.domain).since_version)
    except defs.SchemaError:
        return None


def _lower(node: onnx.NodeProto, constants: _Constants, opset: int) -> None:
    rewrite = _REWRITES.get(node.op_type)
    if rewrite is None or not rewrite(node, constants):
        raise ValueError(
            f'{node.op_type} {node.output[0]!r} has no form in opset {opset}: '
            'build this detector with a back end that reads opset 18 (TensorRT 10 or later)'
        )


def _axes_as_attribute(node: onnx.NodeProto, constants: _Constants) -> bool:
    """Name the axes of a reduction in an attribute; they became an operand in opset 18."""
    if len(node.input) == 1 and not any(a.name == 'noop_with_empty_axes' for a in node.attribute):
        return True
    axes = constants.get(node.input[1]) if len(node.input) == 2 else None
    if axes is None or not np.prod(axes.dims):
        return False
    kept = [a for a in node.attribute if a.name != 'noop_with_empty_axes']
    del node.input[1:], node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(helper.make_attribute('axes', numpy_helper.to_array(axes).tolist()))
    return True


def _split_by_sizes(node: onnx.NodeProto, _: _Constants) -> bool:
    """Accept a split into given sizes; into a number of parts is new in opset 18."""
    return len(node.input) == 2 and bool(node.input[1])


def _resize_of_all_axes(node: onnx.NodeProto, _: _Constants) -> bool:
    """Accept a resize that uses none of the attributes that are new in opset 18."""
    new = {'antialias', 'axes', 'keep_aspect_ratio_policy'}
    return new.isdisjoint(attribute.name for attribute in node.attribute)


def _pad_of_all_axes(node: onnx.NodeProto, _: _Constants) -> bool:
    """Accept padding of every axis; the operand that names axes is new in opset 18."""
    return len(node.input) <= 3


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


_REWRITES: dict[str, Callable[[onnx.NodeProto, _Constants], bool]] = {
    **dict.fromkeys(
        ('ReduceMax', 'ReduceMin', 'ReduceMean', 'ReduceProd', 'ReduceL2'), _axes_as_attribute
    ),
    'Split': _split_by_sizes,
    'Resize': _resize_of_all_axes,
    'Pad': _pad_of_all_axes,
}
"""Give a node its older form and return True, or return False if there is none."""

"""Make the static graph of one depth and one input size from a master ONNX.

The inputs that state the depth become constants, the branches not taken disappear, what depends on
constants only is computed, norms and parallel convolutions are folded and unused weights are
dropped. This is exact (up to rounding in what is folded) and needs onnx and numpy only, so a robot
does it when it first needs an operating point.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper, numpy_helper

from anydepth_core.depth import DepthConfig
from anydepth_core.export.flat_graph import FlatGraph
from anydepth_core.export.folding import fold
from anydepth_core.export.master import (
    depth_inputs,
    depth_space_of,
    IMAGES,
    OPSET,
    read_facts,
    write_facts,
)
from anydepth_core.export.opset import lower_opset
from anydepth_core.export.point_norms import Norms

SIZE_MULTIPLE = 32


def specialise(
    master: onnx.ModelProto,
    flags: Sequence[bool],
    size: tuple[int, int] | None = None,
    decoder_layers: int | None = None,
    opset: int = OPSET,
    norms: Norms | None = None,
) -> onnx.ModelProto:
    """Return the graph of one depth, with the outputs of the master at this depth.

    Args:
        master: the master ONNX; it is not changed.
        flags: one flag per stage, True runs the refinement.
        size: (height, width) of the network input; the batch is then 1. None keeps all three
            dynamic.
        decoder_layers: how many decoder layers run; None for as many as at full depth. Must be
            None for detectors without a decoder.
        opset: operators of the graph: 18, or 17 for TensorRT 8.6.
        norms: statistics of norms that take the place of the master's.

    Raises:
        ValueError: if the model is no master, the number of flags is wrong, the size or the
            number of decoder layers is not legal, or the graph has no form in the opset.
    """
    space = depth_space_of(master)
    if len(flags) != len(space.stages):
        raise ValueError(
            f'{len(flags)} depth flags given; the master has {len(space.stages)} stages: '
            'give one flag for each'
        )
    if size is not None and (
        min(size) < SIZE_MULTIPLE or any(side % SIZE_MULTIPLE for side in size)
    ):
        raise ValueError(
            f'input size {size[0]}x{size[1]} is not legal: '
            f'height and width must be multiples of {SIZE_MULTIPLE}'
        )
    layers = space.decoder_layers if decoder_layers is None else decoder_layers
    depth = space.parse(DepthConfig(tuple(map(bool, flags)), layers))
    shapes = {} if size is None else {IMAGES: (1, 3, *size)}
    graph = FlatGraph(OPSET, depth_inputs(depth), shapes, norms)
    graph.add(master.graph)
    graph.finish([output.name for output in master.graph.output])
    fold(graph)
    model = _model(master, graph)
    facts = read_facts(master)
    write_facts(
        model,
        {key: facts[key] for key in ('name', 'variant', 'num_classes')}
        | {'depth': space.format(depth), 'image_size': size},
    )
    return model if opset == OPSET else lower_opset(model, opset)


def _model(master: onnx.ModelProto, graph: FlatGraph) -> onnx.ModelProto:
    """Wrap a flattened master as a model; inputs and outputs get the static shapes known."""
    values = [value for value in master.graph.input if value.name == IMAGES]
    inputs, outputs = (
        [_value(value, graph.shape(value.name)) for value in group]
        for group in (values, master.graph.output)
    )
    constants = [numpy_helper.from_array(value, name) for name, value in graph.constants.items()]
    return helper.make_model(
        helper.make_graph(graph.nodes, master.graph.name, inputs, outputs, constants),
        opset_imports=master.opset_import,
        ir_version=master.ir_version,
        producer_name=master.producer_name,
        producer_version=master.producer_version,
    )


def _value(value: onnx.ValueInfoProto, shape: tuple[int, ...] | None) -> onnx.ValueInfoProto:
    if shape is None:
        return value
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape)

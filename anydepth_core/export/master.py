"""The master ONNX as a file format: one graph that holds every weight once and runs at any depth.

* inputs: ``images`` float32 (B, 3, H, W); ``depth_mask`` bool (S,), True where a stage runs its
  refinement; for detectors with a decoder ``decoder_layers`` int64 (), how many of its layers run
  (numbers below 1 count as 1, numbers above the layers there are as all of them);
* outputs: ``boxes`` float32 (B, 4, A) centre x, centre y, width, height in network pixels and
  ``scores`` float32 (B, C, A) in [0, 1], one sigmoid a class; A is the number of anchors or of
  selected queries, no box is suppressed;
* one ``If`` per module that a stage's depth bit rules; one per decoder layer behind the first,
  and a chain of them that applies the score head of the last layer that runs;
* a weight is an initialiser of the graph, or of the one branch that uses it, under its name in the
  detector's state dict; every other value of the graph has a name that starts with a slash;
  weights that only training needs are not in it;
* weights with two or more axes may be stored in half precision; they are cast, all arithmetic is
  float32;
* a graph specialised for a depth and a size has the input ``images`` (1, 3, H, W) and the same
  outputs, every shape in it static. A ``TopK`` chooses queries only (TensorRT takes at most 3840).
  The anchors of a dense head are not reduced by one: evaluation counts every anchor above a score
  of 0.001, and the selection costs a CPU about what it saves behind it;
* facts about the detector are JSON values in the model's metadata under ``anydepth.``.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from anydepth_core.depth import DepthConfig, DepthSpace

OPSET = 18
FORMAT = 1
IMAGES, DEPTH_MASK, DECODER_LAYERS = 'images', 'depth_mask', 'decoder_layers'
_PREFIX = 'anydepth.'


def write_facts(model: onnx.ModelProto, facts: dict[str, Any]) -> None:
    """Store facts in the model's metadata."""
    values = {f'{_PREFIX}{key}': json.dumps(value) for key, value in facts.items()}
    onnx.helper.set_model_props(model, values)


def read_facts(model: onnx.ModelProto) -> dict[str, Any]:
    """Return the facts of :func:`write_facts`.

    Raises:
        ValueError: if the model is no master ONNX of a known format.
    """
    entries = {e.key: e.value for e in model.metadata_props if e.key.startswith(_PREFIX)}
    facts = {key.removeprefix(_PREFIX): json.loads(value) for key, value in entries.items()}
    if facts.get('format') != FORMAT:
        raise ValueError(
            f'the ONNX model states master format {facts.get("format")!r}, expected {FORMAT}; '
            'write it with anydepth export'
        )
    return facts


def write_precision(model: onnx.ModelProto, precision: str) -> None:
    """State in the model's metadata in which precision a specialised graph computes."""
    values = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**values, f'{_PREFIX}precision': json.dumps(precision)})


def depth_space_of(master: onnx.ModelProto) -> DepthSpace:
    """Return the depths of the detector in a master ONNX.

    Raises:
        ValueError: if the model is no master ONNX of a known format.
    """
    facts = read_facts(master)
    return DepthSpace(
        tuple(facts['stages']),
        facts['backbone_stages'],
        facts['decoder_layers'],
        facts.get('max_decoder_layers'),
    )


def depth_inputs(depth: DepthConfig) -> dict[str, np.ndarray]:
    """Return a depth as inputs of a master ONNX."""
    inputs = {DEPTH_MASK: np.array(depth.stages, bool)}
    if depth.decoder_layers is not None:
        inputs[DECODER_LAYERS] = np.array(depth.decoder_layers, np.int64)
    return inputs


def state_dict_from_master(master: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the weights of a master ONNX as float32 arrays under their state-dict names.

    What only training needs (``num_batches_tracked``, ``Detector.training_only``) is not in it.

    Raises:
        ValueError: if the model is no master ONNX of a known format.
    """
    read_facts(master)
    return {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in initializers(master.graph)
        if not tensor.name.startswith('/')
    }


def initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All initialisers of a graph and of the branches inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from initializers(attribute.g)

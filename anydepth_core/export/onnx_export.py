"""Write a detector as a master ONNX (see ``master.py``) and read its weights back."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, TensorProto
import torch

from anydepth_core.checkpoint.io import load_weights
from anydepth_core.depth import DepthSpace
from anydepth_core.export.master import (
    DECODER_LAYERS,
    DEPTH_MASK,
    FORMAT,
    IMAGES,
    OPSET,
    state_dict_from_master,
    write_facts,
)
from anydepth_core.export.point_norms import Norms
from anydepth_core.export.recorder import DynamicSize, Recorder, Weights
from anydepth_core.export.sampling import FORMS
from anydepth_core.export.switches import insert_switches
from anydepth_core.files import write_atomically
from anydepth_core.models.detector import Detector
from anydepth_core.version import __version__

# Every axis differs: a size that is the same for both is a constant of the architecture, any other
# is dynamic. The first is the smallest legal image, so that the number of queries, which small
# images limit, is dynamic.
_SAMPLE_SHAPES = ((1, 3, 32, 32), (2, 3, 96, 160))
_IR_VERSION = 8  # the one that belongs to opset 18
_HALF_LIMIT = float(np.finfo(np.float16).max)


def export_master(
    detector: Detector, path: str | Path, half: bool = True, sampling: str = 'grid_sample'
) -> onnx.ModelProto:
    """Write the master ONNX of a detector atomically and return it.

    Args:
        detector: the detector; it is not changed.
        path: target file.
        half: store weights with two or more axes in half precision.
        sampling: how deformable attention samples its maps, where there is any: ``grid_sample``
            (one node) or ``gather`` (index arithmetic, for TensorRT versions whose GridSample is
            wrong).

    Raises:
        ValueError: if a weight is not finite, or too large for half precision, or ``sampling`` is
            unknown.
        RuntimeError: if the detector uses a torch function that has no ONNX form here.
    """
    master = build_master(detector, half, sampling)
    write_atomically(path, master.SerializeToString(deterministic=True))
    return master


def build_master(
    detector: Detector, half: bool = True, sampling: str = 'grid_sample'
) -> onnx.ModelProto:
    """Return the master ONNX of a detector; see :func:`export_master`."""
    if sampling not in FORMS:
        raise ValueError(f'no sampling {sampling!r}; known: {", ".join(FORMS)}')
    _check_weights(_floating_tensors(detector), half)
    shapes = _record(detector, half, sampling, _SAMPLE_SHAPES[0], None).shapes
    recorder = _record(detector, half, sampling, _SAMPLE_SHAPES[1], shapes)
    master = helper.make_model(
        recorder.graph.proto(detector.name, _inputs(detector.depth_space)),
        opset_imports=[helper.make_opsetid('', OPSET)],
        ir_version=_IR_VERSION,
        producer_name='anydepth_core',
        producer_version=__version__,
    )
    write_facts(
        master,
        {
            'format': FORMAT,
            'name': detector.name,
            'variant': detector.variant,
            'num_classes': detector.num_classes,
            'stages': detector.depth_space.stages,
            'backbone_stages': detector.depth_space.backbone_stages,
            'decoder_layers': detector.depth_space.decoder_layers,
            'max_decoder_layers': detector.depth_space.max_decoder_layers,
            'sampling': sampling,
        },
    )
    onnx.checker.check_model(master, full_check=True)
    return master


def load_master_weights(detector: Detector, master: onnx.ModelProto) -> None:
    """Load the weights of a master ONNX into a detector like the one it was written from.

    What a master does not hold, the counters ``num_batches_tracked`` and the weights that only
    training uses, keeps its values.

    Raises:
        ValueError: if weights are missing, unexpected or misshaped; the message lists them.
    """
    weights = {
        name: torch.from_numpy(array) for name, array in state_dict_from_master(master).items()
    }
    kept = {
        name: value
        for name, value in detector.state_dict().items()
        if not value.is_floating_point() or name in detector.training_only
    }
    load_weights(detector, {**kept, **weights})


def with_norms(detector: Detector, norms: Norms) -> Detector:
    """Return a copy of a detector with the statistics of an operating point in its norms."""
    copy = deepcopy(detector)
    buffers = dict(copy.named_buffers())
    for name, values in norms.items():
        buffers[name].copy_(torch.from_numpy(values))
    return copy


def _inputs(space: DepthSpace) -> list[onnx.ValueInfoProto]:
    images = ('batch', 3, 'height', 'width')
    inputs = [
        helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, images),
        helper.make_tensor_value_info(DEPTH_MASK, TensorProto.BOOL, (len(space.stages),)),
    ]
    if space.decoder_layers is not None:
        inputs.append(helper.make_tensor_value_info(DECODER_LAYERS, TensorProto.INT64, ()))
    return inputs


def _record(
    detector: Detector,
    half: bool,
    sampling: str,
    shape: Sequence[int],
    other_shapes: Sequence[tuple[int, ...]] | None,
) -> Recorder:
    """Run a detector on images of a shape; ``other_shapes`` as in :class:`Recorder`."""
    copy = deepcopy(detector).eval().float().cpu()
    weights = Weights(_floating_tensors(copy), half)
    images = torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    recorder = Recorder(weights, images, other_shapes, sampling)
    insert_switches(copy, recorder)
    space = copy.depth_space
    depth = replace(space.full, decoder_layers=space.most_decoder_layers)
    with torch.no_grad(), recorder:
        for name, tensor in copy(images, depth).outputs.items():
            axes = ('batch', *('anchors' for _ in range(1, tensor.dim())))
            sizes = zip(axes, tensor.shape, strict=True)
            dims = [axis if isinstance(size, DynamicSize) else size for axis, size in sizes]
            recorder.graph.output(recorder.value(tensor), dims, name)
    weights.store(recorder.graph)
    return recorder


def _floating_tensors(detector: Detector) -> dict[str, torch.Tensor]:
    """Weights that inference uses."""
    tensors = chain(detector.named_parameters(), detector.named_buffers())
    return {
        name: tensor
        for name, tensor in tensors
        if tensor.is_floating_point() and name not in detector.training_only
    }


def _check_weights(weights: dict[str, torch.Tensor], half: bool) -> None:
    for name, tensor in weights.items():
        largest = float(tensor.detach().abs().max())
        if not np.isfinite(largest):
            raise ValueError(
                f'weight {name} is not finite, its training has failed: give another checkpoint'
            )
        if half and tensor.dim() >= 2 and largest > _HALF_LIMIT:
            raise ValueError(
                f'weight {name} reaches {largest:.3g}, beyond half precision ({_HALF_LIMIT:.5g}); '
                'export with half=False (--no-half)'
            )

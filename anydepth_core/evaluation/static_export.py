"""What a user without a master would deploy: torch's own export of one depth at one size.

Our master and the graphs specialised from it are measured against this.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
import warnings

import numpy as np
import onnx
from onnx import numpy_helper, TensorProto
import torch
from torch import nn

from anydepth_core.depth import DepthConfig
from anydepth_core.export.master import IMAGES, OPSET
from anydepth_core.models.detector import Detector
from anydepth_core.nn.fuse import fuse


def export_static(
    detector: Detector, depth: DepthConfig | str, size: tuple[int, int]
) -> onnx.ModelProto:
    """Export the deployment form of one depth at one input size with torch's exporter.

    Args:
        detector: the detector; it is not changed.
        depth: the depth.
        size: (height, width) of the network input; the batch is 1.

    Returns:
        a float32 graph with the input and outputs of ``specialise``.

    Raises:
        ValueError: if the depth is not legal for this detector.
    """
    with TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporter without new dependencies is deprecated
        path = Path(folder, 'static.onnx')
        torch.onnx.export(
            _OneDepth(fuse(detector, depth), detector.depth_space.parse(depth)),
            (torch.rand(1, 3, *size),),
            path,
            input_names=[IMAGES],
            output_names=['boxes', 'scores'],
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(path)


def stored_bytes(model: onnx.ModelProto, half: bool = False) -> int:
    """Count the bytes of a model without what exporters add: names of nodes, metadata, shapes.

    Args:
        model: the model; it is not changed.
        half: count weights with two or more axes as if they were stored in half precision, as the
            master can store them.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    _strip(bare.graph, half)
    return bare.ByteSize()


class _OneDepth(nn.Module):
    """A detector as a function of images alone."""

    def __init__(self, detector: Detector, depth: DepthConfig) -> None:
        super().__init__()
        self.detector = detector
        self._depth = depth

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map images (1, 3, H, W) to boxes (1, 4, A) and scores (1, C, A)."""
        outputs = self.detector(images, self._depth).outputs
        return outputs['boxes'], outputs['scores']


def _strip(graph: onnx.GraphProto, half: bool) -> None:
    del graph.value_info[:]
    for tensor in graph.initializer:
        if half and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2:
            value = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    for node in graph.node:
        node.ClearField('name')
        node.ClearField('doc_string')
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField('g'):
                _strip(attribute.g, half)

"""The ONNX graph of :func:`anydepth_core.data.preprocess.preprocess`, for one size of the camera.

It runs on the GPU in front of the network of any depth, so that the CPU only hands over the image
as it came. It computes as OpenCV does, with shares of 1/2048, cutting off what OpenCV's integers
cut off, hence the network sees the same pixels: a ``Resize`` node differs by one level of 255 in
one pixel of eight, which moves some boxes by more than half a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from anydepth_core.data.preprocess import Geometry, PAD_VALUE, place
from anydepth_core.export.master import IMAGES, OPSET
from anydepth_core.version import __version__

IMAGE = 'image'
_IR_VERSION = 8  # the one that belongs to opset 18

_Taps = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def preprocessing_graph(
    camera_size: tuple[int, int], network_size: tuple[int, int], resize: str
) -> onnx.ModelProto:
    """Make the graph.

    Args:
        camera_size: (height, width) of the images.
        network_size: (height, width) of the network input.
        resize: ``letterbox`` or ``stretch``.

    Returns:
        A model with the input ``image`` (H, W, 3) uint8 BGR and the output ``images``
        (1, 3, height, width) float32 RGB in [0, 1].

    Raises:
        ValueError: if there is no such resize.
    """
    geometry = place(camera_size, network_size, resize)
    writer = _Writer()
    node, constant = writer.node, writer.constant
    x = node('Cast', IMAGE, to=TensorProto.FLOAT)
    x = node('Transpose', node('Unsqueeze', x, constant(np.array([0]))), perm=[0, 3, 1, 2])
    x = node('Gather', x, constant(np.array([2, 1, 0])), axis=1)
    if geometry.placed_size != camera_size:
        x = _resized(writer, x, camera_size, geometry.placed_size)
    if geometry.placed_size != network_size:
        grey = constant(np.array(PAD_VALUE, np.float32))
        x = node('Pad', x, constant(np.array(_pads(geometry))), grey)
    node('Mul', x, constant(np.array(1 / 255, np.float32)), result=IMAGES)
    return writer.model(camera_size, network_size)


def _resized(writer: _Writer, x: str, size: tuple[int, int], new_size: tuple[int, int]) -> str:
    """Interpolate as ``cv2.resize`` with ``INTER_LINEAR``: columns first, then rows."""
    node, constant = writer.node, writer.constant
    columns = _taps(size[1], new_size[1], clamp_share=True)
    x = node('Add', *_weighted(writer, x, 3, columns, 1.0))
    x = node('Floor', node('Mul', x, constant(np.array(1 / 16, np.float32))))
    rows = _taps(size[0], new_size[0], clamp_share=False)
    x = node('Add', *(node('Floor', each) for each in _weighted(writer, x, 2, rows, 2.0**-16)))
    x = node('Add', x, constant(np.array(2, np.float32)))
    return node('Floor', node('Mul', x, constant(np.array(1 / 4, np.float32))))


def _weighted(writer: _Writer, x: str, axis: int, taps: _Taps, factor: float) -> Iterator[str]:
    """Give what each of the two neighbours of every new column or row adds."""
    shape = (-1, 1) if axis == 2 else (-1,)
    for places, shares in taps:
        weights = writer.constant((shares * np.float32(factor)).reshape(shape))
        yield writer.node(
            'Mul', writer.node('Gather', x, writer.constant(places), axis=axis), weights
        )


def _taps(count: int, new_count: int, clamp_share: bool) -> _Taps:
    """Places and shares of 2048 of the two pixels that each new one lies between.

    Args:
        count: pixels in a line.
        new_count: pixels in a line of the result.
        clamp_share: what lies outside the first and the last pixel takes one pixel whole; else
            it takes the same pixel twice, which is cut off twice.
    """
    places = ((np.arange(new_count) + 0.5) * (count / new_count) - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    share = places - first.astype(np.float32)
    if clamp_share:
        share[(first < 0) | (first >= count - 1)] = 0
    return (
        (np.clip(first, 0, count - 1), np.rint((1 - share) * np.float32(2048))),
        (np.clip(first + 1, 0, count - 1), np.rint(share * np.float32(2048))),
    )


def _pads(geometry: Geometry) -> list[int]:
    """Return the padding before and behind each axis of (1, 3, H, W)."""
    top, left = geometry.pad_top, geometry.pad_left
    bottom, right = (
        whole - before - inner
        for whole, before, inner in zip(
            geometry.network_size, (top, left), geometry.placed_size, strict=True
        )
    )
    return [0, 0, top, left, 0, 0, bottom, right]


class _Writer:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *operands: str, result: str = '', **attributes: Any) -> str:
        """Append a node and return the name of its result."""
        name = f'/{kind}_{len(self._nodes)}'
        self._nodes.append(
            helper.make_node(kind, operands, [result or name], name=name, **attributes)
        )
        return result or name

    def constant(self, value: np.ndarray) -> str:
        """Return the name of a constant."""
        name = f'/constant_{len(self._constants)}'
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def model(
        self, camera_size: tuple[int, int], network_size: tuple[int, int]
    ) -> onnx.ModelProto:
        """Return the graph."""
        image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, (*camera_size, 3))
        images = helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, (1, 3, *network_size))
        return helper.make_model(
            helper.make_graph(self._nodes, 'preprocessing', [image], [images], self._constants),
            opset_imports=[helper.make_opsetid('', OPSET)],
            ir_version=_IR_VERSION,
            producer_name='anydepth_core',
            producer_version=__version__,
        )

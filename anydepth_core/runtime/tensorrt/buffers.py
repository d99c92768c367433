"""Memory that all engines share: scratch on the device, input and outputs on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
import ctypes
from dataclasses import astuple, dataclass
import math

import numpy as np

from anydepth_core.runtime.tensorrt.cuda import Cuda, CudaError

TENSORS: Mapping[str, type[np.generic]] = {
    'image': np.uint8,
    'images': np.float32,
    'boxes': np.float32,
    'scores': np.float32,
}
"""What goes into and comes out of engines: an image as the camera gives it, the input of the
network, and its outputs."""


@dataclass(frozen=True)
class Sizes:
    """How many bytes an engine needs.

    Attributes:
        scratch: device memory for what lies between input and outputs.
        image: the image as the camera gives it.
        images: the input of the network.
        boxes: its first output.
        scores: its second output.
    """

    scratch: int = 0
    image: int = 0
    images: int = 0
    boxes: int = 0
    scores: int = 0

    def union(self, other: Sizes) -> Sizes:
        """Return sizes that are enough for both."""
        return Sizes(*map(max, astuple(self), astuple(other)))


def tensor_bytes(name: str, shape: tuple[int, ...]) -> int:
    """Return the size of a tensor."""
    return math.prod(shape) * np.dtype(TENSORS[name]).itemsize


class Buffers:
    """Device memory and page-locked host memory; addresses never change."""

    def __init__(self, cuda: Cuda, sizes: Sizes) -> None:
        """Allocate everything or nothing.

        Raises:
            CudaError: if there is not enough memory.
        """
        self.sizes = sizes
        self._cuda = cuda
        self.device: dict[str, int] = {}
        self.host: dict[str, int] = {}
        try:
            # An engine without scratch still gets an address.
            self.device['scratch'] = cuda.malloc(max(1, sizes.scratch))
            for name in TENSORS:
                if getattr(sizes, name):
                    self.device[name] = cuda.malloc(getattr(sizes, name))
                    self.host[name] = cuda.host_alloc(getattr(sizes, name))
        except CudaError:
            self.free()
            raise

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the host side of a tensor as an array of this shape, not a copy."""
        size = tensor_bytes(name, shape)
        assert size <= getattr(self.sizes, name)
        content = (ctypes.c_ubyte * size).from_address(self.host[name])
        return np.ctypeslib.as_array(content).view(TENSORS[name]).reshape(shape)

    def free(self) -> None:
        """Free what was allocated; a lost device has freed it already."""
        for address in self.device.values():
            with suppress(CudaError):
                self._cuda.free(address)
        for address in self.host.values():
            with suppress(CudaError):
                self._cuda.host_free(address)
        self.device, self.host = {}, {}

"""Memory that all engines share: scratch on the device, input and outputs on both sides."""

from __future__ import annotations

from contextlib import suppress
import ctypes
from dataclasses import dataclass

import numpy as np

from anydepth_core.runtime.tensorrt.cuda import Cuda, CudaError

TENSORS = ('images', 'boxes', 'scores')
"""Input and outputs of every engine, all float32."""


@dataclass(frozen=True)
class Sizes:
    """How many bytes an engine needs.

    Attributes:
        scratch: device memory for what lies between input and outputs.
        images: the input.
        boxes: the first output.
        scores: the second output.
    """

    scratch: int = 0
    images: int = 0
    boxes: int = 0
    scores: int = 0

    def union(self, other: Sizes) -> Sizes:
        """Return sizes that are enough for both."""
        return Sizes(
            max(self.scratch, other.scratch),
            max(self.images, other.images),
            max(self.boxes, other.boxes),
            max(self.scores, other.scores),
        )


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
                self.device[name] = cuda.malloc(getattr(sizes, name))
                self.host[name] = cuda.host_alloc(getattr(sizes, name))
        except CudaError:
            self.free()
            raise

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the host side of a tensor as a float32 array of this shape, not a copy."""
        count = int(np.prod(shape))
        assert 4 * count <= getattr(self.sizes, name)
        content = (ctypes.c_float * count).from_address(self.host[name])
        return np.ctypeslib.as_array(content).reshape(shape)

    def free(self) -> None:
        """Free what was allocated; a lost device has freed it already."""
        for address in self.device.values():
            with suppress(CudaError):
                self._cuda.free(address)
        for address in self.host.values():
            with suppress(CudaError):
                self._cuda.host_free(address)
        self.device, self.host = {}, {}

"""TensorRT back end: one engine per operating point, built on this device and kept on disk."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
import logging
import threading
from typing import Any

import numpy as np

from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.export.manifest import check_size
from anydepth_core.runtime.backends import DEFAULTS, RuntimeSettings
from anydepth_core.runtime.providers import require_onnxruntime
from anydepth_core.runtime.runtime import check_images
from anydepth_core.runtime.tensorrt.builder import Builder, COMMAND
from anydepth_core.runtime.tensorrt.cuda import available_bytes, Cuda, CudaError
from anydepth_core.runtime.tensorrt.engine import Engine
from anydepth_core.runtime.tensorrt.engines import Engines
from anydepth_core.runtime.tensorrt.library import check_version, import_tensorrt, make_log
from anydepth_core.runtime.tensorrt.preprocessors import Preprocessors, Sizes
from anydepth_core.runtime.tensorrt.residents import Residents

logger = logging.getLogger(__name__)

MOST_POINTS = 5
_SHARE = 0.5  # of the free memory that engines may take

_Key = tuple[DepthConfig, tuple[int, int]]


class TensorRtRuntime:
    """Serves a bundle with TensorRT.

    Building, loading and warming up an engine hold up no other point: a build is a process of its
    own, the rest happens beside the stream that serves. Any thread may call any method.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: RuntimeSettings = DEFAULTS,
        trt: Any = None,
        cudart: Any = None,
        builder: Sequence[str] = COMMAND,
    ) -> None:
        """Open the device and the engine cache; engines come when they are first needed.

        Args:
            bundle: the verified bundle.
            settings: precision, device, cache, workspace and how many engines are kept.
            trt: the module ``tensorrt``, imported if None.
            cudart: functions as those of ``libcudart``, loaded if None.
            builder: command that builds an engine, see ``build_process.py``.

        Raises:
            RuntimeError: if TensorRT, CUDA or ONNX Runtime, which checks new engines, is missing,
                or the cache cannot be trusted.
        """
        require_onnxruntime()
        self.bundle = bundle
        self._trt = import_tensorrt() if trt is None else trt
        check_version(self._trt)
        self._log = make_log(self._trt)
        self._cuda = Cuda(cudart, settings.device)
        self._builder = Builder(builder)
        self._engines = Engines(bundle, settings, self._trt, self._cuda, self._builder)
        self._residents = Residents(
            self._cuda,
            min(settings.max_points, MOST_POINTS),
            int(_SHARE * available_bytes(self._cuda)),
        )
        self._preprocessors = Preprocessors(self._load_preprocessing)
        self._preprocess = settings.preprocess == 'runtime'
        self._unusable = ''
        self._closed = False
        self._loading = threading.Lock()

    @property
    def capacity(self) -> int:
        """How many engines are kept; fewer once they turn out to be large."""
        return self._residents.capacity

    @property
    def accelerator(self) -> str:
        """Name of the GPU."""
        return self._cuda.name

    def device_bytes(self) -> int:
        """Return the memory in use on the GPU; where CPU and GPU share it, of both."""
        with self._usable_device():
            self._cuda.use()
            return self._cuda.memory()[1] - available_bytes(self._cuda)

    def run(self, images: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        """Run the detector on one image; see :class:`~anydepth_core.runtime.runtime.Runtime`."""
        check_images(images, point)
        while True:
            with self._usable_device():
                outputs = self._residents.run(_key(point), images)
            if outputs is not None:
                return outputs
            self.prepare(point)

    def run_image(
        self, image_bgr: np.ndarray, point: OperatingPoint
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Preprocess and run; see :class:`~anydepth_core.runtime.runtime.Runtime`."""
        if not self._preprocess:
            return None
        sizes = ((image_bgr.shape[0], image_bgr.shape[1]), point.image_size)
        if not self._preprocessors.ready(sizes):
            self._check_usable()
            return None
        with self._usable_device():
            return self._residents.run_image(_key(point), sizes, image_bgr)

    def prepare(self, point: OperatingPoint, image_size: tuple[int, int] | None = None) -> None:
        """Load or build the engine of ``point`` unless it is there, and its preprocessing."""
        self._check_usable()
        self._prepare_network(point)
        if image_size is not None and self._preprocess:
            self._preprocessors.load((image_size, point.image_size))

    def _prepare_network(self, point: OperatingPoint) -> None:
        if self._residents.touch(_key(point)):
            return
        self.bundle.space.parse(point.depth)
        check_size(list(point.image_size), 'input size')
        with self._loading:
            if self._residents.touch(_key(point)):
                return
            with self._usable_device():
                self._load(point)

    def ready(self, point: OperatingPoint) -> bool:
        """Whether the engine of ``point`` is there."""
        return not self._unusable and _key(point) in self._residents

    def close(self) -> None:
        """Release everything; a build in work is ended."""
        if not self._closed:
            self._closed = True
            self._unusable = 'the runtime is closed: make a new one'
            self._preprocessors.close()
            self._builder.cancel()
            with self._loading:
                self._residents.close()

    def _load(self, point: OperatingPoint) -> None:
        self._cuda.use()
        self._add(_key(point), self._engines.load(self._log, point, self._residents.make_room))

    def _add(self, key: Hashable, engine: Engine) -> None:
        try:
            self._residents.add(key, engine)
        except RuntimeError:
            engine.close()
            raise

    def _load_preprocessing(self, sizes: Sizes) -> None:
        with self._loading, self._usable_device():
            if sizes in self._residents:
                return
            self._cuda.use()
            self._add(sizes, self._engines.load_preprocessing(self._log, *sizes))

    @contextmanager
    def _usable_device(self) -> Iterator[None]:
        """Refuse to work with a device that is lost or released, and notice when it gets lost."""
        self._check_usable()
        try:
            yield
        except CudaError as error:
            if error.lost:
                self._unusable = f'the GPU is lost to this process, start it again: {error}'
                raise RuntimeError(self._unusable) from None
            if error.out_of_memory:
                raise RuntimeError(
                    f'{error}: close other programs, or keep fewer operating points ready'
                ) from None
            raise RuntimeError(f'{error}: start again, or use the back end onnxruntime') from None

    def _check_usable(self) -> None:
        if self._unusable:
            raise RuntimeError(self._unusable)


def _key(point: OperatingPoint) -> _Key:
    return point.depth, point.image_size

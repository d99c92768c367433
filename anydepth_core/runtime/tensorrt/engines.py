"""Where engines come from: the cache, or else the builder; checked in either case."""

from __future__ import annotations

from collections.abc import Callable
import logging
from pathlib import Path
from typing import Any

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.tensorrt.build_process import Job
from anydepth_core.runtime.tensorrt.builder import Builder
from anydepth_core.runtime.tensorrt.cache import EngineCache, EngineKey, Environment, Record
from anydepth_core.runtime.tensorrt.cuda import Cuda
from anydepth_core.runtime.tensorrt.engine import (
    Engine,
    NETWORK,
    PlanError,
    PREPROCESSING,
    Role,
)
from anydepth_core.runtime.tensorrt.library import Log

logger = logging.getLogger(__name__)


class Engines:
    """Gives the engine of any operating point, in the asked precision or else in float32."""

    def __init__(
        self,
        bundle: Bundle,
        settings: RuntimeSettings,
        trt: Any,
        cuda: Cuda,
        builder: Builder,
        images: Path | None = None,
        progress: Callable[[str], None] = logger.info,
    ) -> None:
        """Open the cache.

        Args:
            bundle: the verified bundle.
            settings: precision, device, cache and workspace.
            trt: the module ``tensorrt``.
            cuda: the device.
            builder: builds what the cache lacks.
            images: what to check new engines on, see ``gate.sample_images``.
            progress: told, sentence by sentence, what goes on.

        Raises:
            RuntimeError: if the cache cannot be trusted.
        """
        self._bundle = bundle
        self._settings = settings
        self._trt = trt
        self._cuda = cuda
        self._builder = builder
        self._images = images
        self._progress = progress
        self._cache = EngineCache(settings.engine_cache)
        self._environment = Environment.of(trt, cuda)

    def obtain(self, point: OperatingPoint) -> tuple[EngineKey, Record]:
        """Return an engine that has passed its check; it is built if it is not in the cache.

        Raises:
            RuntimeError: if none can be built, or none gives the right results.
        """
        reasons = []
        for precision in dict.fromkeys((self._settings.precision, 'fp32')):
            key = EngineKey.of(self._bundle, point, precision, self._environment)
            record = self._cache.find(key) or self._built(key)
            if record.passed:
                return key, record
            reasons.append(f'{precision}: {record.verdict.get("reason")}')
            logger.warning('engine %s is not used: %s', key.name, record.verdict.get('reason'))
        raise RuntimeError(
            f'TensorRT {self._trt.__version__} computes something else than ONNX Runtime '
            f'({"; ".join(reasons)}): update TensorRT, export with --sampling gather, or use the '
            f'back end onnxruntime (to try again delete {self._cache.record_path(key)})'
        )

    def obtain_preprocessing(
        self, camera_size: tuple[int, int], network_size: tuple[int, int]
    ) -> tuple[EngineKey, Record]:
        """Return what makes a network input of an image; it is built if it is not in the cache.

        Raises:
            RuntimeError: if it cannot be built, or does not give the right results.
        """
        key = EngineKey.of_preprocessing(
            self._bundle, camera_size, network_size, self._environment
        )
        record = self._cache.find(key) or self._built(key)
        if record.passed:
            return key, record
        raise RuntimeError(
            f'TensorRT {self._trt.__version__} preprocesses otherwise than the CPU '
            f'({record.verdict.get("reason")}): update TensorRT, or leave preprocessing to the '
            f'CPU (to try again delete {self._cache.record_path(key)})'
        )

    def load(self, log: Log, point: OperatingPoint, room: Callable[[int], None]) -> Engine:
        """Return a deserialised engine; a plan that cannot be loaded is built anew, once.

        Args:
            log: TensorRT's log.
            point: depth and input size.
            room: called with the size of the plan before it is loaded.

        Raises:
            RuntimeError: as :meth:`obtain`, or if memory is short.
        """
        return self._load(log, lambda: self.obtain(point), room, NETWORK)

    def load_preprocessing(
        self, log: Log, camera_size: tuple[int, int], network_size: tuple[int, int]
    ) -> Engine:
        """Return the deserialised engine that makes a network input of an image.

        Raises:
            RuntimeError: as :meth:`obtain_preprocessing`, or if memory is short.
        """
        return self._load(
            log,
            lambda: self.obtain_preprocessing(camera_size, network_size),
            lambda plan_bytes: None,  # it has no weights
            PREPROCESSING,
        )

    def _load(
        self,
        log: Log,
        obtain: Callable[[], tuple[EngineKey, Record]],
        room: Callable[[int], None],
        role: Role,
    ) -> Engine:
        for last in (False, True):
            key, record = obtain()
            try:
                plan = self._cache.plan(key, record)
                room(len(plan))
                return Engine(self._trt, log, self._cuda, plan, key.name, role)
            except (PlanError, ValueError, OSError) as error:
                if last:
                    raise RuntimeError(
                        f'a new engine cannot be used either: {error}; '
                        'update TensorRT, or use the back end onnxruntime'
                    ) from None
                self._cache.discard(key, str(error))
        raise AssertionError

    def _built(self, key: EngineKey) -> Record:
        settings = self._settings
        job = Job(
            bundle=str(self._bundle.path),
            depth=key.depth,
            image_size=key.image_size,
            precision=key.precision,
            device=settings.device,
            cache=str(self._cache.directory),
            workspace_mb=settings.workspace_mb,
            images=None if self._images is None else str(self._images),
            camera_size=key.camera_size,
        )
        name = key.name
        self._builder.build(job, name, lambda doing: self._progress(f'engine {name} {doing}'))
        record = self._cache.find(key)
        if record is None:
            raise RuntimeError(
                f'the builder left no engine {name} in {self._cache.directory}: '
                'is TensorRT, CUDA or the bundle being changed at the moment? Try again'
            )
        return record

"""ONNX Runtime back end: one specialised session per operating point, built when first needed."""

from __future__ import annotations

from collections import OrderedDict
import logging
import threading
import time
from typing import Any

import numpy as np

from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.errors import sentence
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.backends import DEFAULTS, RuntimeSettings
from anydepth_core.runtime.level_graphs import LevelGraphs
from anydepth_core.runtime.memory import give_back_memory
from anydepth_core.runtime.providers import check_provider, open_session
from anydepth_core.runtime.runtime import check_images

logger = logging.getLogger(__name__)

_Key = tuple[DepthConfig, tuple[int, int]]


class OnnxRuntime:
    """Serves a bundle with ONNX Runtime.

    A session holds the static graph of one operating point, which is as fast as a hand-made one.
    The most recently used sessions are kept. Any thread may call any method; a build never holds
    up a point that is ready.
    """

    def __init__(self, bundle: Bundle, settings: RuntimeSettings = DEFAULTS) -> None:
        """Keep the settings; the master is read when the first session is built.

        Args:
            bundle: the verified bundle.
            settings: threads, provider, precision and how many sessions are kept.

        Raises:
            RuntimeError: if ONNX Runtime or the provider is not installed.
        """
        check_provider(settings.provider)
        self.bundle = bundle
        self._settings = settings
        self._graphs = LevelGraphs(bundle)
        self._sessions: OrderedDict[_Key, Any] = OrderedDict()
        self._closed = False
        self._lock = threading.Lock()
        self._build_lock = threading.Lock()

    @property
    def capacity(self) -> int:
        """How many sessions are kept."""
        return self._settings.max_points

    @property
    def accelerator(self) -> str | None:
        """None: ONNX Runtime does not tell."""
        return None

    def device_bytes(self) -> int | None:
        """Return None: ONNX Runtime does not tell."""
        return None

    def run(self, images: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        """Run the detector on one image; see :class:`~anydepth_core.runtime.runtime.Runtime`."""
        check_images(images, point)
        session = self._session(point)
        try:
            boxes, scores = session.run(['boxes', 'scores'], {'images': images})
        except Exception as error:  # ONNX Runtime has its own types
            raise RuntimeError(
                f"ONNX Runtime failed ({sentence(error)}): check the bundle with 'anydepth bundle "
                "verify', or update onnxruntime"
            ) from error
        return boxes[0], scores[0]

    def run_image(self, image_bgr: np.ndarray, point: OperatingPoint) -> None:
        """Return None: preprocessing is left to the CPU."""

    def prepare(self, point: OperatingPoint, image_size: tuple[int, int] | None = None) -> None:
        """Build the session of ``point`` unless it is there."""
        self._session(point)

    def ready(self, point: OperatingPoint) -> bool:
        """Whether the session of ``point`` is there."""
        with self._lock:
            return (point.depth, point.image_size) in self._sessions

    def close(self) -> None:
        """Drop the sessions; one that is being built is dropped when it is done."""
        with self._lock:
            self._closed = True
            self._sessions.clear()

    def _session(self, point: OperatingPoint) -> Any:
        key = (point.depth, point.image_size)
        session = self._resident(key)
        if session is None:
            with self._build_lock:
                session = self._resident(key) or self._keep(key, self._build(point))
        return session

    def _resident(self, key: _Key) -> Any:
        with self._lock:
            if self._closed:
                raise RuntimeError('the runtime is closed: make a new one')
            if key in self._sessions:
                self._sessions.move_to_end(key)
            return self._sessions.get(key)

    def _keep(self, key: _Key, session: Any) -> Any:
        with self._lock:
            if not self._closed:
                self._sessions[key] = session
            while len(self._sessions) > self.capacity:
                self._sessions.popitem(last=False)
        return session

    def _build(self, point: OperatingPoint) -> Any:
        """Build a session and run it once, because the first run is up to twice as slow."""
        started = time.perf_counter()
        model = self._graphs.graph(point, self._settings.precision).SerializeToString()
        session = open_session(model, session_options(self._settings), self._settings)
        session.run(None, {'images': np.zeros((1, 3, *point.image_size), np.float32)})
        del model
        give_back_memory()
        logger.info(
            'built %s at %dx%d in %.0f ms',
            self.bundle.space.format(point.depth),
            *point.image_size,
            1e3 * (time.perf_counter() - started),
        )
        return session


def session_options(settings: RuntimeSettings) -> Any:
    """Return options of a session: threads and spinning of the settings, all optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry(
        'session.intra_op.allow_spinning', '1' if settings.spinning else '0'
    )
    return options

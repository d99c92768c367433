"""ONNX Runtime back end: one specialised session per operating point, built when first needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
import logging
import threading
import time
from typing import Any, TYPE_CHECKING

import numpy as np

from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.export.manifest import check_size

if TYPE_CHECKING:
    import onnx

logger = logging.getLogger(__name__)

CPU = 'CPUExecutionProvider'

_Key = tuple[DepthConfig, tuple[int, int]]


class OnnxRuntime:
    """Serves a bundle with ONNX Runtime.

    A session holds the static graph of one operating point, which is as fast as a hand-made one.
    The most recently used sessions are kept. Any thread may call any method; a build never holds
    up a point that is ready.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        spinning: bool = False,
        max_sessions: int = 4,
        providers: Sequence[str] = (CPU,),
    ) -> None:
        """Keep the settings; the master is read when the first session is built.

        Args:
            bundle: the verified bundle.
            threads: threads of one session, 0 for one per physical core.
            spinning: let waiting threads spin: lower latency for more energy.
            max_sessions: sessions kept; the least recently used one goes first.
            providers: execution providers, most wanted first.

        Raises:
            ValueError: if a number is out of range.
            RuntimeError: if ONNX Runtime or one of the providers is not installed.
        """
        if threads < 0:
            raise ValueError(
                f'threads {threads} is not legal: give 0 (one per physical core) or more'
            )
        if max_sessions < 1:
            raise ValueError(f'max_sessions {max_sessions} is not legal: give 1 or more')
        self.bundle = bundle
        self._threads = threads
        self._spinning = spinning
        self._max_sessions = max_sessions
        self._providers = _available(providers)
        self._master: onnx.ModelProto | None = None
        self._sessions: OrderedDict[_Key, Any] = OrderedDict()
        self._closed = False
        self._lock = threading.Lock()
        self._build_lock = threading.Lock()

    def run(self, images: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        """Run the detector on one image; see :class:`~anydepth_core.runtime.runtime.Runtime`."""
        wanted = (1, 3, *point.image_size)
        if images.shape != wanted or images.dtype != np.float32:
            raise ValueError(
                f'images of shape {images.shape} and type {images.dtype} '
                f'do not fit the operating point: give float32 of shape {wanted}'
            )
        boxes, scores = self._session(point).run(['boxes', 'scores'], {'images': images})
        return boxes[0], scores[0]

    def prepare(self, point: OperatingPoint) -> None:
        """Build the session of ``point`` unless it is there."""
        self._session(point)

    def ready(self, point: OperatingPoint) -> bool:
        """Whether the session of ``point`` is there."""
        with self._lock:
            return (point.depth, point.image_size) in self._sessions

    def close(self) -> None:
        """Drop the sessions and the master."""
        with self._lock:
            self._closed = True
            self._sessions.clear()
            self._master = None

    def specialised(self, point: OperatingPoint) -> onnx.ModelProto:
        """Make the static graph of ``point`` (this is what its session is built from).

        Raises:
            ValueError: if the depth or the input size is not legal.
        """
        import onnx

        from anydepth_core.export.specialise import specialise

        depth = self.bundle.space.parse(point.depth)
        size = check_size(list(point.image_size), 'input size')
        master = self._master or onnx.load(self.bundle.master_path)
        self._master = master
        return specialise(master, depth.stages, size, decoder_layers=depth.decoder_layers)

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
            while len(self._sessions) > self._max_sessions:
                self._sessions.popitem(last=False)
        return session

    def _build(self, point: OperatingPoint) -> Any:
        """Build a session and run it once, because the first run is up to twice as slow."""
        import onnxruntime

        started = time.perf_counter()
        model = self.specialised(point)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), self._options(), providers=self._providers
        )
        if session.get_providers()[0] != self._providers[0]:
            raise RuntimeError(
                f'execution provider {self._providers[0]} could not be started, '
                f'ONNX Runtime fell back to {session.get_providers()[0]}: '
                'check its driver or ask for that provider'
            )
        session.run(None, {'images': np.zeros((1, 3, *point.image_size), np.float32)})
        logger.info(
            'built %s at %dx%d in %.0f ms',
            self.bundle.space.format(point.depth),
            *point.image_size,
            1e3 * (time.perf_counter() - started),
        )
        return session

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry(
            'session.intra_op.allow_spinning', '1' if self._spinning else '0'
        )
        return options


def _available(providers: Sequence[str]) -> list[str]:
    """Check the providers.

    Raises:
        ValueError: if none is given.
        RuntimeError: if ONNX Runtime or one of them is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise RuntimeError(
            "ONNX Runtime is not installed: run 'pip install onnxruntime'"
        ) from None
    if not providers:
        raise ValueError(f'no execution provider is given: give one or more, for example {CPU}')
    available = onnxruntime.get_available_providers()
    for provider in providers:
        if provider not in available:
            raise RuntimeError(
                f'execution provider {provider} is not available: '
                f'this ONNX Runtime has {", ".join(available)}'
            )
    return list(providers)

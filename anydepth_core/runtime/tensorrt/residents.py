"""The engines that are ready, the memory they share, and running one of them.

All engines work in one set of buffers, so one inference runs at a time, in one stream. Engines are
added by another thread: it warms an engine up in memory of its own and records its CUDA graph in a
stream of its own, so that an inference waits for neither; only putting the result in place takes
the lock that an inference holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
import logging
import threading

import numpy as np

from anydepth_core.runtime.tensorrt.buffers import Buffers, Sizes
from anydepth_core.runtime.tensorrt.cuda import Cuda, CudaError
from anydepth_core.runtime.tensorrt.engine import Engine, NETWORK

logger = logging.getLogger(__name__)


@dataclass
class _Resident:
    """An engine that is ready, and its CUDA graph where it could be captured."""

    engine: Engine
    graph: int | None = None


class Residents:
    """Engines by key, least recently used first; at most so many, and so many bytes."""

    def __init__(self, cuda: Cuda, most: int, most_bytes: int) -> None:
        """Make the streams.

        Args:
            cuda: the device.
            most: engines kept, at least 1.
            most_bytes: bytes of plans kept; the engine used last stays in any case.
        """
        self._cuda = cuda
        self._most = most
        self._most_bytes = most_bytes
        self._largest = 0
        self._residents: OrderedDict[Hashable, _Resident] = OrderedDict()
        self._buffers: Buffers | None = None
        self._stream = cuda.create_stream()
        self._loading_stream = cuda.create_stream()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._residents

    @property
    def capacity(self) -> int:
        """How many engines fit, as far as their sizes are known."""
        fit = self._most_bytes // self._largest if self._largest else self._most
        return max(1, min(self._most, fit))

    def touch(self, key: Hashable) -> bool:
        """Count an engine as used; tell whether it is there."""
        with self._lock:
            if key in self._residents:
                self._residents.move_to_end(key)
            return key in self._residents

    def run(self, key: Hashable, images: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Run an engine and return boxes (4, A) and scores (C, A); None if it is not there.

        Raises:
            RuntimeError: if TensorRT or CUDA fails.
        """
        with self._lock:
            resident, buffers = self._residents.get(key), self._buffers
            if resident is None or buffers is None:
                return None
            self._residents.move_to_end(key)
            self._cuda.use()
            resident.engine.feed(buffers, images)
            resident.engine.upload(buffers, self._stream)
            return self._finish(resident, buffers)

    def run_image(
        self, key: Hashable, preprocessing: Hashable, image_bgr: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Preprocess and run on the device; None if either engine is not there.

        Raises:
            RuntimeError: if TensorRT or CUDA fails.
        """
        with self._lock:
            resident, buffers = self._residents.get(key), self._buffers
            front = self._residents.get(preprocessing)
            if resident is None or front is None or buffers is None:
                return None
            self._residents.move_to_end(key)
            self._cuda.use()
            front.engine.feed(buffers, image_bgr)
            self._start(front)
            return self._finish(resident, buffers)

    def make_room(self, plan_bytes: int) -> None:
        """Let go of engines, so that one of this size fits; the one used last stays."""
        self._largest = max(self._largest, plan_bytes)
        self._release(self._surplus(self._most - 1, self._most_bytes - plan_bytes))

    def add(self, key: Hashable, engine: Engine) -> None:
        """Warm an engine up, capture it and put it in place; one thread at a time.

        Raises:
            RuntimeError: if memory is short or TensorRT or CUDA fails; what was there still
                works.
        """
        self._warm_up(engine)
        before = self._buffers
        needed = engine.sizes if before is None else before.sizes.union(engine.sizes)
        buffers = before if before and needed == before.sizes else Buffers(self._cuda, needed)
        engines = {} if buffers is before else self._captured_before()
        fresh: dict[Hashable, _Resident] = {}
        try:
            for name, one in {**engines, key: engine}.items():
                fresh[name] = _Resident(one, self._captured(one, buffers))
        except RuntimeError:
            self._drop_graphs(fresh.values())
            if buffers is not before:
                buffers.free()
            raise
        with self._lock:
            retired = self._put_in_place(fresh, buffers)
        self._drop_graphs(retired)
        if before is not None and buffers is not before:
            before.free()
        self._release(self._surplus(self._most, self._most_bytes))

    def close(self) -> None:
        """Release everything; a lost device has nothing left to release."""
        with self._lock:
            keys = list(self._residents)
        self._release(keys)
        with self._lock:
            if self._buffers is not None:
                self._buffers.free()
                self._buffers = None
            for stream in (self._stream, self._loading_stream):
                with suppress(CudaError):
                    self._cuda.destroy_stream(stream)

    def _start(self, resident: _Resident) -> None:
        if resident.graph is None:
            resident.engine.enqueue(self._stream)
        else:
            self._cuda.launch(resident.graph, self._stream)

    def _finish(self, resident: _Resident, buffers: Buffers) -> tuple[np.ndarray, np.ndarray]:
        self._start(resident)
        self._cuda.synchronize(self._stream)
        boxes, scores = resident.engine.results(buffers)
        return boxes, scores

    def _warm_up(self, engine: Engine) -> None:
        """Run an engine once, because its first run loads kernels and cannot be captured."""
        with self._spare(engine.sizes) as buffers:
            engine.bind(buffers)
            engine.feed(buffers, np.zeros((), np.uint8))
            engine.upload(buffers, self._loading_stream)
            engine.enqueue(self._loading_stream)
            self._cuda.synchronize(self._loading_stream)

    @contextmanager
    def _spare(self, sizes: Sizes) -> Iterator[Buffers]:
        """Give buffers that no inference uses meanwhile.

        Where memory for a second set is short, the shared one has to do, and inference waits.
        """
        try:
            spare = Buffers(self._cuda, sizes)
        except CudaError as error:
            shared = self._buffers
            fits = shared is not None and shared.sizes.union(sizes) == shared.sizes
            if shared is None or not fits or not error.out_of_memory:
                raise
            logger.warning('%s: frames wait while an engine is warmed up', error)
            with self._lock:
                yield shared
            return
        try:
            yield spare
        finally:
            spare.free()

    def _captured(self, engine: Engine, buffers: Buffers) -> int | None:
        """Bind an engine and capture it; None if that fails, then it is enqueued plainly."""
        engine.bind(buffers)
        try:
            return engine.capture(self._loading_stream)
        except CudaError as error:
            if error.lost or error.out_of_memory:
                raise
            reason: RuntimeError = error
        except RuntimeError as error:
            reason = error
        logger.warning('%s runs without a CUDA graph, which takes longer: %s', engine.name, reason)
        return None

    def _captured_before(self) -> dict[Hashable, Engine]:
        """Return the engines whose graphs must be recorded again when the buffers change."""
        with self._lock:  # a run changes the order
            residents = list(self._residents.items())
        return {key: one.engine for key, one in residents if one.graph is not None}

    def _put_in_place(self, fresh: dict[Hashable, _Resident], buffers: Buffers) -> list[_Resident]:
        """Switch to the new graphs and buffers; return those that nobody uses any more."""
        retired = [self._residents[key] for key in fresh if key in self._residents]
        if buffers is not self._buffers:
            for key, resident in self._residents.items():
                if key not in fresh:
                    resident.engine.bind(buffers)
        self._buffers = buffers
        for key, resident in fresh.items():
            self._residents[key] = resident  # one that was there keeps its place
        return retired

    def _surplus(self, most: int, most_bytes: int) -> list[Hashable]:
        """Return the least recently used keys that are too many; never the one used last."""
        with self._lock:
            sizes = [
                (key, one.engine.plan_bytes)
                for key, one in self._residents.items()
                if one.engine.role is NETWORK
            ]
        count, total, surplus = len(sizes), sum(size for _, size in sizes), []
        for key, size in sizes[:-1]:
            if count <= most and total <= most_bytes:
                break
            count, total = count - 1, total - size
            surplus.append(key)
        return surplus

    def _release(self, keys: Iterable[Hashable]) -> None:
        with self._lock:
            gone = [self._residents.pop(key) for key in keys]
        self._drop_graphs(gone)
        for resident in gone:
            resident.engine.close()

    def _drop_graphs(self, residents: Iterable[_Resident]) -> None:
        for resident in residents:
            if resident.graph is not None:
                with suppress(CudaError):
                    self._cuda.destroy_executable(resident.graph)

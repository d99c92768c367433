"""A back end that builds only when it is let, counts, and forgets what was used least recently."""

from __future__ import annotations

from collections import OrderedDict
import threading

import numpy as np

from anydepth_core.depth import OperatingPoint


class SlowRuntime:
    """Holds up to ``capacity`` points; each build waits until :meth:`let` allows one."""

    def __init__(self, capacity: int = 100) -> None:
        self.capacity = capacity
        self.built: list[OperatingPoint] = []
        self.refused: dict[OperatingPoint, str] = {}
        self.closed = False
        self._gate = threading.Semaphore(0)
        self._ready: OrderedDict[OperatingPoint, None] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, images: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            assert point in self._ready, 'a frame had to wait for a build'
            self._ready.move_to_end(point)
        return np.zeros((4, 9), np.float32), np.zeros((3, 9), np.float32)

    def run_image(self, image_bgr: np.ndarray, point: OperatingPoint) -> None:
        """Leave preprocessing to the CPU."""

    def prepare(self, point: OperatingPoint, image_size: tuple[int, int] | None = None) -> None:
        with self._lock:
            if point in self._ready:
                self._ready.move_to_end(point)
                return
        assert self._gate.acquire(timeout=20)
        if point in self.refused:
            raise RuntimeError(self.refused[point])
        with self._lock:
            if self.closed:
                raise RuntimeError('the runtime is closed')
            self.built.append(point)
            self._ready[point] = None
            while len(self._ready) > self.capacity:
                self._ready.popitem(last=False)

    def ready(self, point: OperatingPoint) -> bool:
        return point in self._ready

    def close(self) -> None:
        self.closed = True

    def let(self, builds: int) -> None:
        """Allow some more builds."""
        for _ in range(builds):
            self._gate.release()

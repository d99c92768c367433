"""What the detector serves from: the pipeline, and which operating points are ready; no ROS.

A depth is built in the background while the nearest ready one serves, so that neither a parameter
callback nor a frame ever waits for a build.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import os
import threading

from anydepth_core.depth import DepthSpace, nearest, OperatingPoint
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from anydepth_core.runtime.pipeline import Pipeline

BACKENDS = ('onnxruntime',)
EXTRA_SESSIONS = 2  # operating points that stay ready beside the ladder, full, base and the wanted


def open_pipeline(
    model: str,
    backend: str,
    threads: int,
    spinning: bool,
    cpu_affinity: Sequence[int],
    cameras: int,
) -> Pipeline:
    """Load and verify a bundle.

    Args:
        model: directory of the bundle, or ``default``.
        backend: one of ``BACKENDS``.
        threads: threads of one inference, 0 for one per physical core or entry of
            ``cpu_affinity``.
        spinning: let waiting threads spin.
        cpu_affinity: CPUs the inference may use, empty for all.
        cameras: how many cameras share the pipeline, each with a depth of its own.

    Raises:
        ValueError: if the bundle is wrong or a number is out of range.
        RuntimeError: if a back end is missing.
    """
    if backend not in BACKENDS:
        raise ValueError(f'backend {backend!r} is not legal: use one of {", ".join(BACKENDS)}')
    check_cpus(cpu_affinity)
    bundle = load_bundle(model)
    sessions = len(kept_points(bundle)) + max(1, cameras) + EXTRA_SESSIONS
    runtime = OnnxRuntime(
        bundle,
        threads=threads or len(cpu_affinity),
        spinning=spinning,
        max_sessions=sessions,
    )
    return Pipeline(bundle, runtime)


def check_cpus(cpus: Sequence[int]) -> None:
    """Refuse CPUs that this process may not use.

    Raises:
        ValueError: if there is one; the message lists those it may use.
    """
    if not cpus:
        return
    if not hasattr(os, 'sched_getaffinity'):
        raise ValueError('cpu_affinity is not supported by this system: leave it empty')
    usable = os.sched_getaffinity(0)
    if not set(cpus) <= usable:
        raise ValueError(
            f'cpu_affinity {list(cpus)} is not legal: this process may use the CPUs '
            f'{", ".join(map(str, sorted(usable)))}'
        )


def pin_thread(cpus: Sequence[int]) -> None:
    """Keep the calling thread, and the threads it starts from now on, on these CPUs."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def kept_points(bundle: Bundle) -> list[OperatingPoint]:
    """Return what is always ready: the ladder, ``full`` and ``base``."""
    named = [bundle.ladder.parse(name, bundle.image_size) for name in ('full', 'base')]
    return list(dict.fromkeys([*bundle.ladder.points, *named]))


class Serving:
    """Serves a pipeline: builds what is wanted, then what is kept, in a thread of its own."""

    def __init__(
        self,
        pipeline: Pipeline,
        wanted: Sequence[OperatingPoint],
        cpu_affinity: Sequence[int] = (),
        on_event: Callable[[str, bool], None] = lambda text, failed: None,
    ) -> None:
        """Build the wanted points, so that the first frame finds them, and start the thread.

        Args:
            pipeline: what is served; closed with this.
            wanted: operating points of the first frames.
            cpu_affinity: CPUs of the threads that inference starts.
            on_event: called with a sentence about a build, and whether it failed.

        Raises:
            ValueError: if a point is not legal.
            RuntimeError: if the back end cannot build one.
        """
        self.pipeline = pipeline
        self._affinity = cpu_affinity
        self._on_event = on_event
        self._kept = kept_points(pipeline.bundle)
        self._wanted = list(wanted)
        self._known = list(dict.fromkeys([*self._kept, *wanted]))
        self._failed: dict[OperatingPoint, str] = {}
        self._building: OperatingPoint | None = None
        self._error: Exception | None = None
        self._stopped = False
        self._first_built = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._build_all, name='builder', daemon=True)
        self._thread.start()
        self._wait_for_first()

    def want(self, points: Sequence[OperatingPoint]) -> None:
        """Build these next; one that failed before is tried again."""
        with self._changed:
            for point in points:
                self._failed.pop(point, None)
            self._wanted = list(points)
            self._known = list(dict.fromkeys([*self._kept, *points, *self._known]))[:64]
            self._changed.notify_all()

    def serve(self, wanted: OperatingPoint) -> OperatingPoint:
        """Return the point to run now: the wanted one, or the nearest that is ready."""
        if self.pipeline.runtime.ready(wanted):
            return wanted
        return nearest(self.ready() or [wanted], wanted)

    def ready(self) -> list[OperatingPoint]:
        """Return the points that would run at once."""
        return [point for point in self._known if self.pipeline.runtime.ready(point)]

    def building(self) -> OperatingPoint | None:
        """Return what is being built at the moment."""
        return self._building

    def failed(self) -> dict[OperatingPoint, str]:
        """Return what could not be built, with the reasons."""
        with self._changed:
            return dict(self._failed)

    def close(self) -> None:
        """Finish the build in work and release the pipeline."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()
        self.pipeline.close()

    def _wait_for_first(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._first_built or self._error is not None)
            error = self._error
        if error is not None:
            self._thread.join()
            raise error

    def _build_all(self) -> None:
        pin_thread(self._affinity)
        try:
            for point in self._wanted:
                self.pipeline.prepare(point)
        except Exception as error:  # also a back end's own types; it is raised to the caller
            with self._changed:
                self._error = error
                self._changed.notify_all()
            return
        with self._changed:
            self._first_built = True
            self._changed.notify_all()
        while (due := self._next()) is not None:
            self._build(due)

    def _next(self) -> OperatingPoint | None:
        """Wait for something to build; None at the end."""
        with self._changed:
            self._building = None
            self._changed.wait_for(lambda: self._stopped or self._missing() is not None)
            if self._stopped:
                return None
            self._building = self._missing()
            return self._building

    def _missing(self) -> OperatingPoint | None:
        for point in [*self._wanted, *self._kept]:
            if point not in self._failed and not self.pipeline.runtime.ready(point):
                return point
        return None

    def _build(self, point: OperatingPoint) -> None:
        try:
            # The back end forgets the least recently used point: what is kept is touched first.
            for kept in [*self._kept, *self._wanted]:
                if self.pipeline.runtime.ready(kept):
                    self.pipeline.prepare(kept)
            self.pipeline.prepare(point)
        except Exception as error:  # also a back end's own types; the others still serve
            reason = ' '.join(str(error).split()) or type(error).__name__
            with self._changed:
                self._failed[point] = reason
            self._on_event(f'{name_of(self.pipeline.bundle.space, point)}: {reason}', True)
        else:
            self._on_event(f'{name_of(self.pipeline.bundle.space, point)} is ready', False)


def name_of(space: DepthSpace, point: OperatingPoint) -> str:
    """Return an operating point as text, such as ``1111-0011@320x320``."""
    return f'{space.format(point.depth)}@{point.image_size[0]}x{point.image_size[1]}'

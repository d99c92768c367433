"""What the detector serves from: the pipeline, and which operating points are ready; no ROS.

A depth is built in the background while the nearest ready one serves, so that neither a parameter
callback nor a frame ever waits for a build. Only so many depths stay ready as the back end holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import os
import threading

from anydepth_core.depth import DepthSpace, nearest, OperatingPoint
from anydepth_core.errors import sentence
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.runtime.backends import open_runtime, RuntimeSettings
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_core.runtime.residency import resident

FIRST_BUILDS_S = 10.0  # longer builds (TensorRT takes minutes) go on while the node answers
LAST_BUILD_S = 10.0  # a build that takes longer to end is left to itself


def open_pipeline(
    model: str, settings: RuntimeSettings, cpu_affinity: Sequence[int] = ()
) -> Pipeline:
    """Load and verify a bundle and open it with a back end.

    Args:
        model: directory of the bundle, or ``default``.
        settings: back end, threads and how many depths are kept ready.
        cpu_affinity: CPUs the inference may use, empty for all.

    Raises:
        ValueError: if the bundle is wrong or a CPU is none of this process.
        RuntimeError: if the back end or something it needs is missing.
    """
    check_cpus(cpu_affinity)
    bundle = load_bundle(model)
    return Pipeline(bundle, open_runtime(bundle, settings))


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
    """Return what is kept ready where there is room: the ladder, then ``full`` and ``base``."""
    named = [bundle.ladder.parse(name, bundle.image_size) for name in ('full', 'base')]
    return list(dict.fromkeys([*bundle.ladder.points, *named]))


class Serving:
    """Serves a pipeline and decides what stays ready; a thread of its own builds what is missing.

    What stays ready is planned by :func:`~anydepth_core.runtime.residency.resident`. Frames and
    the builder touch nothing else, so the back end, which forgets what was used least recently,
    never forgets a point of the plan.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        wanted: Sequence[OperatingPoint],
        cpu_affinity: Sequence[int] = (),
        on_event: Callable[[str, bool], None] = lambda text, failed: None,
        patience_s: float = FIRST_BUILDS_S,
    ) -> None:
        """Start the thread and wait for the wanted points, so that the first frame finds them.

        Args:
            pipeline: what is served; closed with this.
            wanted: operating points of the first frames, most important first.
            cpu_affinity: CPUs of the threads that inference starts.
            on_event: called with a sentence about a later build, and whether it failed.
            patience_s: builds that take longer go on in the background.

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
        self._running: Counter[OperatingPoint] = Counter()
        self._failed: dict[OperatingPoint, Exception] = {}
        self._building: OperatingPoint | None = None
        self._started = self._stopped = False
        self._changed = threading.Condition()
        self._make_plan()
        self._thread = threading.Thread(target=self._build_all, name='builder', daemon=True)
        self._thread.start()
        self._wait_for_first(patience_s)

    def want(self, points: Sequence[OperatingPoint]) -> None:
        """Build these next; one that failed before is tried again."""
        with self._changed:
            for point in points:
                self._failed.pop(point, None)
            self._wanted = list(points)
            self._known = list(dict.fromkeys([*self._kept, *points, *self._known]))[:64]
            self._make_plan()
            self._changed.notify_all()

    def serve(self, wanted: OperatingPoint) -> OperatingPoint:
        """Return the point to run now: the wanted one, or the nearest that is ready."""
        if self.pipeline.runtime.ready(wanted) and wanted not in self._crowded_out:
            return wanted
        ready, plan = self.ready(), self._plan
        return nearest([one for one in ready if one in plan] or ready or [wanted], wanted)

    def ready(self) -> list[OperatingPoint]:
        """Return the points that would run at once."""
        return [point for point in self._known if self.pipeline.runtime.ready(point)]

    @contextmanager
    def running(self, wanted: OperatingPoint) -> Iterator[OperatingPoint]:
        """Give the point to run now and keep it ready while the block lasts."""
        with self._changed:
            point = self.serve(wanted)
            self._running[point] += 1
        try:
            yield point
        finally:
            with self._changed:
                self._running[point] -= 1
                self._changed.notify_all()

    def check_ready(self, point: OperatingPoint) -> None:
        """Refuse to run a point that would be built first; happens only before the first is there.

        Raises:
            RuntimeError: if it is not ready.
        """
        if not self.pipeline.runtime.ready(point):
            raise RuntimeError(f'no depth is ready yet: {self.why_not(point)}')

    def building(self) -> OperatingPoint | None:
        """Return what is being built at the moment."""
        return self._building

    def failed(self) -> dict[OperatingPoint, str]:
        """Return what could not be built, with the reasons."""
        with self._changed:
            return {point: sentence(error) for point, error in self._failed.items()}

    def why_not(self, wanted: OperatingPoint) -> str:
        """Say why another point runs in place of a wanted one."""
        name = name_of(self.pipeline.bundle.space, wanted)
        reason = self.failed().get(wanted)
        if reason is not None:
            return f'{name} could not be built: {reason}'
        if wanted in self._crowded_out:
            return (
                f'{name} has no room beside the depths of other cameras: raise max_ready_depths '
                f'({self.pipeline.runtime.capacity} fit)'
            )
        return f'{name} is being built'

    def close(self) -> None:
        """Release the pipeline; a build in work is waited for, but not for ever."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.pipeline.close()
        self._thread.join(LAST_BUILD_S)

    def _wait_for_first(self, patience_s: float) -> None:
        first = [point for point in self._plan if point in self._wanted]
        ready = self.pipeline.runtime.ready
        with self._changed:
            self._changed.wait_for(
                lambda: self._first_error() or all(ready(point) for point in first), patience_s
            )
            error = self._first_error()
            self._started = True
        if error is not None:
            self._thread.join()
            raise error

    def _first_error(self) -> Exception | None:
        return next((error for one, error in self._failed.items() if one in self._wanted), None)

    def _make_plan(self) -> None:
        """Choose what stays ready: the wanted points, what runs in their place, and others."""
        ready, capacity = self.ready(), self.pipeline.runtime.capacity
        wanted = [point for point in self._wanted if point not in self._failed]
        running = [nearest(ready, point) for point in self._wanted] if ready else []
        ladder, kept = (
            [point for point in points if point not in self._failed]
            for points in (self.pipeline.bundle.ladder.points, self._kept)
        )
        self._plan = resident(ladder, [*wanted, *running], capacity, kept)
        self._crowded_out = frozenset(wanted[capacity:])

    def _build_all(self) -> None:
        pin_thread(self._affinity)
        while (due := self._next()) is not None:
            self._build(due)

    def _next(self) -> OperatingPoint | None:
        """Wait for something to build; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._due() is not None)
            self._building = None if self._stopped else self._due()
            return self._building

    def _due(self) -> OperatingPoint | None:
        """Return what to build now: not while a frame runs at a point that the build may end."""
        leaving = any(self._running[one] for one in self._running if one not in self._plan)
        planned = any(self.pipeline.runtime.ready(point) for point in self._plan)
        return None if leaving and planned else self._missing()

    def _missing(self) -> OperatingPoint | None:
        ready = self.pipeline.runtime.ready
        return next((point for point in self._plan if not ready(point)), None)

    def _build(self, point: OperatingPoint) -> None:
        error: Exception | None = None
        try:
            for planned in self._plan:  # so that what goes is none of them
                if self.pipeline.runtime.ready(planned):
                    self.pipeline.prepare(planned)
            self.pipeline.prepare(point)
        except Exception as problem:  # also a back end's own types; the others still serve
            error = problem
        with self._changed:
            self._building = None
            if error is not None and not self._stopped:
                self._failed[point] = error
                self._stopped |= not self._started and point in self._wanted
            self._make_plan()
            self._changed.notify_all()
            told = self._started and not self._stopped
        if told:
            reason = 'is ready' if error is None else f'could not be built: {sentence(error)}'
            self._on_event(f'{name_of(self.pipeline.bundle.space, point)} {reason}', bool(error))


def name_of(space: DepthSpace, point: OperatingPoint) -> str:
    """Return an operating point as text, such as ``1111-0011@320x320``."""
    return f'{space.format(point.depth)}@{point.image_size[0]}x{point.image_size[1]}'

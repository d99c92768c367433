"""What the detector serves from: builds in the background, the nearest ready point meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
import threading

import numpy as np
import pytest

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_ros.serving import check_cpus, kept_points, open_pipeline, Serving
from tests.anydepth_ros.conftest import wait_until


class SlowRuntime:
    """A back end that builds only when it is let, and forgets nothing."""

    def __init__(self) -> None:
        self.built: list[OperatingPoint] = []
        self.gate = threading.Semaphore(0)
        self.refused: dict[OperatingPoint, str] = {}
        self.closed = False

    def run(self, images: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError('nothing is run here')

    def prepare(self, point: OperatingPoint) -> None:
        if point in self.built:
            return
        assert self.gate.acquire(timeout=20)
        if point in self.refused:
            raise RuntimeError(self.refused[point])
        self.built.append(point)

    def ready(self, point: OperatingPoint) -> bool:
        return point in self.built

    def close(self) -> None:
        self.closed = True

    def let(self, builds: int) -> None:
        for _ in range(builds):
            self.gate.release()


@pytest.fixture
def runtime() -> Iterator[SlowRuntime]:
    runtime = SlowRuntime()
    yield runtime
    runtime.let(100)


def serving_of(bundle: Bundle, runtime: SlowRuntime, depth: int | str = 'full') -> Serving:
    pipeline = Pipeline(bundle, runtime)
    return Serving(pipeline, [pipeline.resolve(depth)])


def test_the_wanted_point_is_built_first_and_at_once(
    toy_bundle: Bundle, runtime: SlowRuntime
) -> None:
    runtime.let(1)
    serving = serving_of(toy_bundle, runtime, '01-0')
    wanted = serving.pipeline.resolve('01-0')
    assert runtime.built == [wanted] and serving.serve(wanted) == wanted
    wait_until(serving.building)
    runtime.let(len(kept_points(toy_bundle)))
    wait_until(lambda: set(kept_points(toy_bundle)) <= set(runtime.built))
    serving.close()
    assert runtime.closed


def test_the_nearest_ready_point_serves_until_the_wanted_one_is_built(
    toy_bundle: Bundle, runtime: SlowRuntime
) -> None:
    kept = kept_points(toy_bundle)
    runtime.let(len(kept))
    serving = serving_of(toy_bundle, runtime)
    wait_until(lambda: set(kept) <= set(serving.ready()))
    wanted = serving.pipeline.resolve('11-0')
    serving.want([wanted])
    wait_until(lambda: serving.building() == wanted)
    assert serving.serve(wanted) == serving.pipeline.resolve('full')
    runtime.let(1)
    wait_until(lambda: serving.serve(wanted) == wanted)
    serving.close()


def test_a_later_wish_overtakes_what_was_only_to_be_kept(
    toy_bundle: Bundle, runtime: SlowRuntime
) -> None:
    runtime.let(1)
    serving = serving_of(toy_bundle, runtime)
    wait_until(serving.building)
    wanted = serving.pipeline.resolve('10-0')
    serving.want([wanted])
    runtime.let(2)  # the build in work, then the wish
    wait_until(lambda: len(runtime.built) == 3)
    assert runtime.built[2] == wanted
    runtime.let(10)
    serving.close()


def test_a_failed_build_is_remembered_and_tried_again_only_when_it_is_wanted_again(
    toy_bundle: Bundle, runtime: SlowRuntime
) -> None:
    runtime.let(20)
    serving = serving_of(toy_bundle, runtime)
    wanted = serving.pipeline.resolve('10-1')
    runtime.refused[wanted] = 'out of\nmemory'
    serving.want([wanted])
    wait_until(lambda: serving.failed() == {wanted: 'out of memory'})
    assert serving.serve(wanted) == serving.pipeline.resolve('full')
    runtime.refused.clear()
    serving.want([wanted])
    wait_until(lambda: serving.serve(wanted) == wanted)
    assert serving.failed() == {}
    serving.close()


def test_a_first_build_that_fails_is_raised(toy_bundle: Bundle, runtime: SlowRuntime) -> None:
    pipeline = Pipeline(toy_bundle, runtime)
    wanted = pipeline.resolve('full')
    runtime.refused[wanted] = 'no device'
    runtime.let(1)
    with pytest.raises(RuntimeError, match='no device'):
        Serving(pipeline, [wanted])


def test_a_bundle_is_served_with_room_for_every_camera(toy_bundle: Bundle) -> None:
    pipeline = open_pipeline(str(toy_bundle.path), 'onnxruntime', 1, False, (), 3)
    depths = ['01-0', '10-0', '11-0']
    serving = Serving(pipeline, [pipeline.resolve(depth) for depth in depths])
    wanted = {pipeline.resolve(depth) for depth in depths}
    wait_until(lambda: wanted | set(kept_points(toy_bundle)) <= set(serving.ready()))
    serving.close()


def test_an_unknown_back_end_is_refused_with_the_known_ones(toy_bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="backend 'abacus' is not legal: use one of onnxruntime"):
        open_pipeline(str(toy_bundle.path), 'abacus', 1, False, (), 1)


def test_only_cpus_of_this_process_are_taken() -> None:
    check_cpus(())
    with pytest.raises(ValueError, match='this process may use the CPUs 0'):
        check_cpus((0, 12345))

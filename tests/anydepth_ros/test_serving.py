"""What the detector serves from: builds in the background, the nearest ready point meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.depth import Ladder, OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_ros.serving import check_cpus, kept_points, open_pipeline, Serving
from tests.anydepth_core.support.toy_bundle import LADDER, SPACE
from tests.anydepth_ros.conftest import wait_until
from tests.anydepth_ros.slow_runtime import SlowRuntime

POINTS = [Ladder(SPACE, LADDER).parse(depth, (96, 96)) for depth in reversed(list(SPACE.all()))]


@pytest.fixture
def runtime() -> Iterator[SlowRuntime]:
    runtime = SlowRuntime()
    yield runtime
    runtime.let(100)


def serving_of(bundle: Bundle, runtime: SlowRuntime, *depths: int | str) -> Serving:
    pipeline = Pipeline(bundle, runtime)
    return Serving(pipeline, [pipeline.resolve(depth) for depth in depths or ('full',)])


def wait_until_settled(serving: Serving) -> None:
    def settled() -> bool:
        with serving._changed:
            return serving._missing() is None and serving.building() is None

    wait_until(settled)


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
        Serving(pipeline, [wanted], on_event=lambda *event: pytest.fail('it is raised instead'))


def test_a_switch_to_a_ready_point_builds_nothing(
    toy_bundle: Bundle, runtime: SlowRuntime
) -> None:
    runtime.let(len(kept_points(toy_bundle)))
    serving = serving_of(toy_bundle, runtime)
    wait_until_settled(serving)
    built = list(runtime.built)
    for depth in ('base', 0, 'full', 1, 2, 'base'):
        wanted = serving.pipeline.resolve(depth)
        serving.want([wanted])
        assert serving.serve(wanted) == wanted
    wait_until_settled(serving)
    assert runtime.built == built
    serving.close()


def test_no_frame_waits_while_points_come_and_go(toy_bundle: Bundle) -> None:
    runtime = SlowRuntime(capacity=2)
    runtime.let(2)
    serving = serving_of(toy_bundle, runtime)
    wanted, stop, ran = [serving.pipeline.resolve('full')], threading.Event(), []

    def frames() -> None:
        while not stop.is_set():
            with serving.running(wanted[0]) as point:
                runtime.run(np.zeros(0), point)  # fails if it is not ready
            ran.append(point)

    thread = threading.Thread(target=frames)
    thread.start()
    for point in (POINTS[2], POINTS[5], POINTS[2], POINTS[7], POINTS[0]):
        wanted[0] = point
        serving.want([point])
        done = len(ran)
        wait_until(lambda done=done: len(ran) > done + 10)  # while nothing can be built
        runtime.let(2)
        wait_until(lambda point=point: ran[-1] == point)
        wait_until_settled(serving)
    stop.set()
    thread.join()
    assert len(serving.ready()) == 2
    runtime.let(10)
    serving.close()


def test_where_there_is_room_for_two_the_cheapest_stays_beside_the_wanted_one(
    toy_bundle: Bundle,
) -> None:
    runtime = SlowRuntime(capacity=2)
    runtime.let(100)
    serving = serving_of(toy_bundle, runtime)
    for point in (POINTS[3], POINTS[6], POINTS[3]):
        serving.want([point])
        wait_until_settled(serving)
        assert set(serving.ready()) == {LADDER[0], point}
    serving.close()


def test_more_cameras_than_room_share_what_there_is_and_building_ends(toy_bundle: Bundle) -> None:
    runtime = SlowRuntime(capacity=2)
    runtime.let(100)
    serving = serving_of(toy_bundle, runtime, '10-0', '01-1', '00-1', '11-1')
    wait_until_settled(serving)
    first, second, third, fourth = (POINTS[index] for index in (4, 3, 1, 7))
    assert [serving.serve(point) for point in (first, second, third)] == [first, second, second]
    assert serving.serve(fourth) in (first, second)
    assert 'raise max_ready_depths (2 fit)' in serving.why_not(fourth)
    built = list(runtime.built)
    for point in (third, fourth, first, second) * 5:
        runtime.run(np.zeros(0), serving.serve(point))
    wait_until_settled(serving)
    assert runtime.built == built
    serving.close()


@settings(max_examples=40, deadline=None)
@given(
    capacity=st.integers(2, 5),
    wishes=st.lists(st.lists(st.sampled_from(POINTS), min_size=1, max_size=4, unique=True)),
    broken=st.sets(st.sampled_from(POINTS), max_size=2),
)
def test_whatever_is_wanted_it_is_soon_ready_within_the_room(
    toy_bundle: Bundle,
    capacity: int,
    wishes: list[list[OperatingPoint]],
    broken: set[OperatingPoint],
) -> None:
    runtime = SlowRuntime(capacity)
    runtime.let(1000)
    serving = serving_of(toy_bundle, runtime, 0)
    runtime.refused = dict.fromkeys(broken, 'broken')
    for wish in wishes:
        serving.want(wish)
        for point in wish:
            with serving.running(point) as running:
                runtime.run(np.zeros(0), running)
        wait_until_settled(serving)
        sound = [point for point in wish if point not in serving.failed()]
        assert set(serving.failed()) <= broken and len(serving.ready()) <= capacity
        assert [serving.serve(point) for point in sound[:capacity]] == sound[:capacity]
    assert len(runtime.built) <= 1 + (len(wishes) + 1) * 2 * capacity
    serving.close()


def test_a_first_build_that_takes_long_goes_on_in_the_background(
    toy_bundle: Bundle, runtime: SlowRuntime
) -> None:
    pipeline = Pipeline(toy_bundle, runtime)
    wanted = pipeline.resolve('full')
    serving = Serving(pipeline, [wanted], patience_s=0.0)
    with pytest.raises(RuntimeError, match='no depth is ready yet: 11-1@96x96 is being built'):
        serving.check_ready(serving.serve(wanted))
    runtime.let(1)
    wait_until(lambda: runtime.ready(wanted))
    serving.check_ready(serving.serve(wanted))
    runtime.let(10)
    serving.close()


def test_a_first_build_that_fails_late_is_told(toy_bundle: Bundle, runtime: SlowRuntime) -> None:
    pipeline = Pipeline(toy_bundle, runtime)
    wanted = pipeline.resolve('full')
    runtime.refused[wanted] = 'no memory'
    serving = Serving(pipeline, [wanted], patience_s=0.0)
    runtime.let(1)
    wait_until(serving.failed)
    with pytest.raises(RuntimeError, match='11-1@96x96 could not be built: no memory'):
        serving.check_ready(wanted)
    runtime.let(10)
    serving.close()


def test_closing_during_a_build_drops_what_it_makes_and_says_nothing(
    toy_bundle: Bundle, runtime: SlowRuntime
) -> None:
    pipeline, events = Pipeline(toy_bundle, runtime), []
    runtime.let(1)
    serving = Serving(
        pipeline,
        [pipeline.resolve('full')],
        on_event=lambda text, failed: events.append(text),
    )
    wait_until(serving.building)
    closing = threading.Thread(target=serving.close)
    closing.start()
    wait_until(lambda: runtime.closed)
    runtime.let(10)
    closing.join()
    assert len(runtime.built) == 1 and events == [] and serving.failed() == {}


def test_a_bundle_is_served_with_as_many_depths_as_there_is_room_for(toy_bundle: Bundle) -> None:
    pipeline = open_pipeline(str(toy_bundle.path), RuntimeSettings(threads=1, max_points=2))
    serving = Serving(pipeline, [pipeline.resolve('01-0')])
    wait_until_settled(serving)
    assert set(serving.ready()) == {LADDER[0], pipeline.resolve('01-0')}
    serving.close()


def test_only_cpus_of_this_process_are_taken() -> None:
    check_cpus(())
    with pytest.raises(ValueError, match='this process may use the CPUs 0'):
        check_cpus((0, 12345))

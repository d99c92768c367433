"""What a detector has to live through on a robot: storms of parameters, restarts, bad cameras."""

from __future__ import annotations

from array import array
from collections.abc import Callable
import gc
from pathlib import Path
import threading
import time

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import numpy as np
import pytest
from sensor_msgs.msg import Image

from anydepth_core.export.bundle import Bundle
from anydepth_ros.conversions import stats_values
from anydepth_ros.images import ENCODINGS
from anydepth_ros.qos import image_qos, OUTPUT
from tests.anydepth_core.support.toy_bundle import picture
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.processes import Process
from tests.anydepth_ros.support import Probe, start_detector, wait_until_built, wait_until_matched

CYCLE = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)
SETTLED = 10  # rounds until caches are filled


def change_state(probe: Probe, client: object, transition: int) -> bool:
    """Ask for a transition as a lifecycle manager does; return whether it succeeded."""
    request = ChangeState.Request(transition=Transition(id=transition))
    future = client.call_async(request)  # type: ignore[attr-defined]
    wait_until(future.done, f'transition {transition}')
    return bool(future.result().success)


@pytest.mark.slow
def test_a_storm_of_parameters_is_answered_while_images_are(
    local_graph: Graph, start: Callable[..., Process], toy_bundle: Bundle
) -> None:
    """Two hundred changes a second are asked for; the achieved rate is printed (-s shows it)."""
    process = start('detector_node', '-p', f'model:={toy_bundle.path}')
    probe = Probe()
    local_graph.add(probe)
    probe.meet_detector()
    depths = ('full', 'base', 0, 2)
    begin, changes, futures, stamps = time.monotonic(), 0, [], []
    while (now := time.monotonic() - begin) < 10.0:
        if changes <= now * 200:
            value = {'depth': depths[changes % 4]} if changes % 2 else {'iou_threshold': 0.5}
            futures.append(probe.set_later(**value))
            changes += 1
        if not stamps or stamps[-1] in probe.stats:
            stamps.append(probe.send())
        time.sleep(0.0005)
    wait_until(lambda: all(future.done() for future in futures), 'all changes are answered')
    seconds = time.monotonic() - begin
    print(
        f'{changes} changes asked for, {len(futures) / seconds:.0f} a second answered, '
        f'{len(stamps)} images'
    )
    assert all(future.result().results[0].successful for future in futures)
    assert len(futures) / seconds >= 100
    wait_until(lambda: set(stamps) <= set(probe.detections), 'every image is answered')
    wait_until(lambda: set(stamps) <= set(probe.stats), 'the figures of every image')
    assert len({probe.stats[stamp]['depth'] for stamp in stamps}) > 1
    assert process.popen.poll() is None and 'Traceback' not in process.output()


@pytest.mark.slow
def test_the_depth_may_flip_with_every_frame(graph: Graph, toy_bundle: Bundle) -> None:
    """A thousand frames, each at the depth that was set before it, with its own header."""
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    for turn in range(1000):
        depth, expected = (('full', '11-1'), (0, '00-0'))[turn % 2]
        assert probe.set(depth=depth) == (True, '')
        stamp = probe.send()
        message = probe.answer(stamp)
        assert probe.stats[stamp]['depth'] == expected
        assert len(message.detections) == 1
        assert message.header == message.detections[0].header
    assert len(probe.detections) == 1000


@pytest.mark.slow
def test_fifty_lifecycle_cycles_leave_nothing_behind(
    local_graph: Graph, start: Callable[..., Process], toy_bundle: Bundle
) -> None:
    """A lifecycle manager in another process takes the node through all its states."""
    process = start('detector_node', '-p', f'model:={toy_bundle.path}')
    probe = Probe()
    local_graph.add(probe)
    probe.meet_detector()
    client = probe.create_client(ChangeState, 'detector/change_state')
    wait_until(client.service_is_ready, 'the lifecycle service')
    memory, threads = [], []
    for _ in range(50):
        for transition in CYCLE:
            assert change_state(probe, client, transition), transition
        wait_until(lambda: probe.count_subscribers('/image') == 1, 'the node listens again')
        memory.append(process.resident_bytes())
        threads.append(len(list(Path(f'/proc/{process.popen.pid}/task').iterdir())))
    probe.meet_detector()
    assert max(threads[SETTLED:]) <= max(threads[:SETTLED]) + 1
    growth = (memory[-1] - memory[SETTLED]) / memory[SETTLED]
    print(f'resident memory {memory[SETTLED] / 2**20:.1f} -> {memory[-1] / 2**20:.1f} MiB')
    assert growth < 0.03
    assert 'Traceback' not in process.output()


def test_a_camera_that_vanishes_and_comes_back_is_answered_again(
    graph: Graph, toy_bundle: Bundle
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    assert probe.set(image_timeout_s=0.5) == (True, '')
    probe.answer(probe.send())
    probe.destroy_publisher(probe._images)
    camera = detector._cameras['']
    reason = wait_until(lambda: camera.watchdog.silence, 'the node says why there is no image')
    assert 'nobody publishes /image' in reason or 'gone' in reason
    probe._images = probe.create_publisher(Image, 'image', image_qos('reliable', 50))
    wait_until(lambda: probe._images.get_subscription_count() == 1, 'the camera is back')
    assert len(probe.answer(probe.send()).detections) == 1
    wait_until(lambda: not camera.watchdog.silence, 'the silence is over')


def test_a_camera_may_restart_with_another_size_and_encoding(
    graph: Graph, toy_bundle: Bundle
) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    for size, encoding, channels in (
        ((96, 96), 'bgr8', 3),
        ((33, 250), 'rgb8', 3),
        ((300, 200), 'rgba8', 4),
        ((96, 96), 'mono8', 1),
    ):
        height, width = size
        pixels = np.zeros((height, width, channels), np.uint8)
        message = Image(height=height, width=width, encoding=encoding, step=width * channels)
        message.data = array('B', pixels.tobytes())
        header = probe.answer(probe.send_message(message)).header
        assert header == message.header


def test_a_restarted_node_of_the_same_name_is_found_again(
    graph: Graph, toy_bundle: Bundle
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    probe.answer(probe.send())
    for transition in ('deactivate', 'cleanup'):
        getattr(detector, f'trigger_{transition}')()
    wait_until(lambda: probe.count_subscribers('/image') == 0, 'the node is gone')
    for transition in ('configure', 'activate'):
        getattr(detector, f'trigger_{transition}')()
    probe.wait_for_detector()
    wait_until_matched(detector)
    wait_until_built(detector)
    assert len(probe.answer(probe.send()).detections) == 1


MESSAGES = st.fixed_dictionaries(
    {
        'height': st.one_of(st.integers(0, 40), st.just(2**32 - 1)),
        'width': st.one_of(st.integers(0, 40), st.just(2**32 - 1)),
        'step': st.one_of(st.integers(0, 200), st.just(2**32 - 1)),
        'encoding': st.one_of(st.sampled_from(sorted(ENCODINGS)), st.text(max_size=8)),
        'is_bigendian': st.integers(0, 255),
        'data': st.binary(max_size=4000),
    }
)


@pytest.mark.slow
def test_no_image_message_ends_the_node_and_the_next_good_one_is_answered(
    graph: Graph, toy_bundle: Bundle
) -> None:
    """Whatever the fields hold: an answer or a reason in stats, then business as usual."""
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    reasons: list[str] = []

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(MESSAGES)
    def send_it(fields: dict[str, object]) -> None:
        message = Image(**{**fields, 'data': array('B', fields['data'])})  # type: ignore[arg-type]
        stamp = probe.send_message(message)
        wait_until(lambda: stamp in probe.stats, 'the fate of the image')
        if stamp in probe.errors:
            assert '\n' not in probe.errors[stamp]
            assert stamp not in probe.detections
            reasons.append(probe.errors[stamp])
        else:
            wait_until(lambda: stamp in probe.detections, 'the detections')

    send_it()
    assert reasons
    good = probe.send(picture((0, 0, 0)))
    assert len(probe.answer(good).detections) == 1
    assert detector._cameras[''].tally.report().rejected == len(reasons)


def test_the_reason_of_a_bad_image_reaches_diagnostics(graph: Graph, toy_bundle: Bundle) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    _, probe = start_detector(
        graph, model=str(toy_bundle.path), diagnostics_period_s=0.1, image_timeout_s=1.0
    )
    heard: list[DiagnosticArray] = []
    probe.create_subscription(DiagnosticArray, '/diagnostics', heard.append, OUTPUT)
    wait_until(lambda: heard, 'diagnostics')
    probe.send_message(Image(encoding='bgr8'))

    def told() -> bool:
        (image,) = (s for s in heard[-1].status if s.name == 'detector: image')
        return 'image is empty' in image.message + str(stats_values(heard[-1]))

    wait_until(told, 'the reason')
    gc.collect()
    assert threading.active_count() < 40

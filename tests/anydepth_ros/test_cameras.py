"""Several cameras on one model, pausing, compressed images, debug images, old images."""

from __future__ import annotations

from pathlib import Path
import threading

import cv2
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from anydepth_core.export.bundle import Bundle
from anydepth_ros.camera import TELLS_SEQUENCE
from anydepth_ros.images import image_to_bgr
from anydepth_ros.qos import DEBUG, image_qos
from tests.anydepth_core.support.toy_bundle import picture
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.support import (
    make_detector,
    Probe,
    start_detector,
    wait_until_active,
    wait_until_built,
    wait_until_matched,
)

FULL, BASE = '11-1', '00-0'


def enable(probe: Probe, on: bool) -> str:
    """Call the detector's service; return what it says."""
    client = probe.create_client(SetBool, 'detector/enable')
    wait_until(client.service_is_ready, 'the service')
    future = client.call_async(SetBool.Request(data=on))
    wait_until(future.done, 'the answer')
    assert future.result().success
    return future.result().message


def test_two_cameras_share_the_model_and_keep_their_depths(
    graph: Graph, toy_bundle: Bundle
) -> None:
    names = ['front', 'rear']
    detector, front = start_detector(graph, model=str(toy_bundle.path), cameras=names)
    rear = Probe('rear_probe', camera='rear')
    graph.add(rear)
    rear.wait_for_detector()
    wait_until_matched(detector, 'rear')
    assert [probe.depth_of(probe.send()) for probe in (front, rear)] == [FULL, FULL]
    assert front.set(**{'rear.depth': 0}) == (True, '')
    wait_until_built(detector)
    assert [probe.depth_of(probe.send()) for probe in (front, rear)] == [FULL, BASE]
    assert front.set(depth='base') == (True, '')
    assert [probe.depth_of(probe.send()) for probe in (front, rear)] == [BASE, BASE]
    assert rear.stats[rear.last_stamp]['image_size'] == '64x64'
    assert front.set(**{'rear.depth': ''}) == (True, '')
    assert rear.depth_of(rear.send()) == BASE
    assert rear.stats[rear.last_stamp]['image_size'] == '96x96'
    assert front.stats[front.last_stamp]['camera'] == 'front'
    assert not set(front.detections) & set(rear.detections)
    accepted, reason = front.set(**{'rear.depth': 9})
    assert not accepted and 'depth 9 is not legal' in reason


def test_a_flood_from_one_camera_does_not_starve_the_other(
    graph: Graph, toy_bundle: Bundle
) -> None:
    names = ['front', 'rear']
    detector, front = start_detector(
        graph, model=str(toy_bundle.path), cameras=names, image_reliability='reliable'
    )
    rear = Probe('rear_probe', camera='rear')
    graph.add(rear)
    rear.wait_for_detector()
    wait_until_matched(detector, 'rear')
    done = threading.Event()

    def flood() -> None:
        while not done.wait(0.002):
            front.send()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        stamps = []
        for _ in range(20):
            stamps.append(rear.send())
            rear.answer(stamps[-1])
    finally:
        done.set()
        thread.join()
    assert set(stamps) <= set(rear.detections)
    assert rear.stats[stamps[-1]]['dropped'] == '0'
    assert len(front.detections) >= 20


def test_a_paused_detector_answers_nothing_and_goes_on_with_the_newest_image(
    graph: Graph, toy_bundle: Bundle
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    probe.answer(probe.send())
    assert enable(probe, False) == 'paused'
    received = detector._cameras[''].tally.report().received
    for _ in range(5):
        newest = probe.send()
        assert probe.set(max_detections=10) == (True, '')  # the node is awake and does not take it
    assert detector._cameras[''].tally.report().received == received
    assert newest not in probe.detections
    assert enable(probe, True) == 'images are answered'
    assert len(probe.answer(newest).detections) == 1
    assert len(probe.answer(probe.send()).detections) == 1


def test_compressed_images_are_answered(graph: Graph, toy_bundle: Bundle) -> None:
    detector = make_detector(graph, model=str(toy_bundle.path), image_transport='compressed')
    probe = Probe()
    graph.add(probe)
    publisher = probe.create_publisher(CompressedImage, 'image/compressed', image_qos('reliable'))
    wait_until(lambda: publisher.get_subscription_count() == 1, 'the detector subscribes')
    wait_until_matched(detector)
    wait_until_built(detector)
    for format_text, data in (
        ('bgr8; png compressed bgr8', cv2.imencode('.png', picture((0, 0, 0)))[1].tobytes()),
        ('jpeg', b'no picture'),
        ('png', cv2.imencode('.png', picture((0, 0, 0)))[1].tobytes()),
    ):
        message = CompressedImage(header=probe.next_header(), format=format_text)
        message.data.frombytes(data)
        publisher.publish(message)
        if data == b'no picture':
            reason = wait_until(lambda: probe.errors.get(probe.last_stamp), 'the reason')
            assert 'neither JPEG nor PNG' in reason
        else:
            assert len(probe.answer(probe.last_stamp).detections) == 1


def test_a_compressed_topic_follows_the_remapping_of_image(
    graph: Graph, toy_bundle: Bundle
) -> None:
    arguments = ['--ros-args', '-r', 'image:=/camera/image_raw']
    detector = make_detector(
        graph, model=str(toy_bundle.path), image_transport='compressed', cli_args=arguments
    )
    wait_until(lambda: detector.count_subscribers('/camera/image_raw/compressed') == 1)


def test_debug_images_are_drawn_only_for_someone(graph: Graph, toy_bundle: Bundle) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    probe.answer(probe.send())
    assert not detector._cameras[''].has_viewer()
    heard: list[Image] = []
    viewer = probe.create_subscription(Image, 'debug_image', heard.append, DEBUG)
    wait_until(detector._cameras[''].has_viewer, 'the viewer is known')
    stamp = probe.send()
    probe.answer(stamp)
    wait_until(lambda: heard, 'a debug image')
    assert heard[-1].header == probe.detections[stamp].header
    drawn = image_to_bgr(heard[-1])
    assert drawn.shape == picture().shape
    assert np.any(drawn != picture((0, 0, 0)))
    probe.destroy_subscription(viewer)
    wait_until(lambda: not detector._cameras[''].has_viewer(), 'the viewer is gone')
    count = len(heard)
    probe.answer(probe.send())
    assert len(heard) == count


def test_an_image_over_the_age_limit_is_left_out_and_counted(
    graph: Graph, toy_bundle: Bundle
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    assert probe.set(max_image_age_ms=500.0) == (True, '')
    header = probe.next_header()
    header.stamp.sec -= 2
    old = probe.send_with(header, picture((0, 0, 0)))
    wait_until(lambda: detector._cameras[''].tally.report().too_old == 1, 'it is left out')
    fresh = probe.send()
    assert len(probe.answer(fresh).detections) == 1
    assert probe.stats[fresh]['too_old'] == '1'
    assert old not in probe.detections


def test_only_chosen_classes_are_published(graph: Graph, toy_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    both = picture((0, 0, 0), (2, 2, 1))
    assert len(probe.answer(probe.send(both)).detections) == 2
    assert probe.set(classes=['green']) == (True, '')
    (found,) = probe.answer(probe.send(both)).detections
    assert found.results[0].hypothesis.class_id == '1'
    accepted, reason = probe.set(classes=['purple'])
    assert not accepted and 'red, green, blue' in reason
    assert probe.set(classes=[]) == (True, '')
    assert len(probe.answer(probe.send(both)).detections) == 2


def test_a_qos_override_changes_the_subscription(graph: Graph, toy_bundle: Bundle) -> None:
    detector = make_detector(
        graph,
        model=str(toy_bundle.path),
        **{
            'qos_overrides./image.subscription.reliability': 'reliable',
            'qos_overrides./image.subscription.depth': 4,
        },
    )
    (info,) = wait_until(lambda: detector.get_subscriptions_info_by_topic('/image'))
    assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    wait_until_active(detector)
    for transition in ('deactivate', 'activate'):  # the override still holds
        getattr(detector, f'trigger_{transition}')()
    assert detector._cameras['']._subscription.qos_profile.depth == 4


def test_of_a_deeper_queue_only_the_newest_image_is_answered(
    graph: Graph, toy_bundle: Bundle
) -> None:
    if not TELLS_SEQUENCE:
        pytest.skip('this rclpy does not number messages: every image is taken')
    override = {'qos_overrides./image.subscription.depth': 3}
    detector, probe = start_detector(graph, model=str(toy_bundle.path), **override)
    detector.runtime.run_gate.clear()  # type: ignore[attr-defined]
    first = probe.send()
    assert detector.runtime.running.wait(20)  # type: ignore[attr-defined]
    waiting = [probe.send() for _ in range(5)]
    detector.runtime.run_gate.set()  # type: ignore[attr-defined]
    probe.answer(waiting[-1])
    assert set(probe.detections) == {first, waiting[-1]}
    assert probe.stats[waiting[-1]]['dropped'] == '4'


def test_a_queue_that_would_grow_is_refused(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    override = {'qos_overrides./image.subscription.history': 'keep_all'}
    detector = make_detector(graph, model=str(toy_bundle.path), autostart=False, **override)
    assert detector.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert detector.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert 'keep_all would queue old images: use keep_last' in capfd.readouterr().err


def test_an_illegal_qos_of_a_publisher_leaves_nothing_half_made(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    override = {'qos_overrides./stats.publisher.reliability': 'as you like'}
    detector = make_detector(graph, model=str(toy_bundle.path), autostart=False, **override)
    assert detector.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'cannot configure' in capfd.readouterr().err
    assert detector._serving is None and detector._cameras == {}
    own = {topic for topic, _ in detector.get_publisher_names_and_types_by_node('detector', '/')}
    assert not own & {'/detections', '/stats', '/label_info', '/debug_image'}
    assert 'builder' not in [thread.name for thread in threading.enumerate()]


def test_an_illegal_qos_of_the_subscription_leaves_the_node_inactive(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    override = {'qos_overrides./image.subscription.reliability': 'as you like'}
    detector = make_detector(graph, model=str(toy_bundle.path), autostart=False, **override)
    assert detector.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert detector.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert 'cannot activate' in capfd.readouterr().err
    assert detector._worker is None and detector._drawer is None
    assert detector._state_machine.current_state[1] == 'inactive'
    assert detector.trigger_cleanup() == TransitionCallbackReturn.SUCCESS


def test_threads_stay_on_the_chosen_cpu(graph: Graph, toy_bundle: Bundle) -> None:
    cpu = max(Path('/sys/devices/system/cpu').glob('cpu[0-9]*')).name.removeprefix('cpu')
    detector, probe = start_detector(graph, model=str(toy_bundle.path), cpu_affinity=[int(cpu)])
    probe.answer(probe.send())
    allowed = {
        thread.name: Path(f'/proc/self/task/{thread.native_id}/status').read_text()
        for thread in threading.enumerate()
        if thread.name in ('detector', 'builder')
    }
    assert set(allowed) == {'detector', 'builder'}
    for name, status in allowed.items():
        assert f'Cpus_allowed_list:\t{cpu}\n' in status, name
    assert detector.get_parameter('cpu_affinity').value == [int(cpu)]


def test_a_cpu_that_is_not_there_is_refused(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    detector = make_detector(
        graph, model=str(toy_bundle.path), cpu_affinity=[9999], autostart=False
    )
    detector.trigger_configure()
    assert 'cpu_affinity [9999] is not legal' in capfd.readouterr().err


def test_use_sim_time_does_not_keep_the_node_from_starting(
    graph: Graph, toy_bundle: Bundle
) -> None:
    detector = make_detector(graph, model=str(toy_bundle.path), use_sim_time=True)
    wait_until(lambda: detector.count_subscribers('/image') == 1, 'the node is active')
    assert detector.get_parameter('use_sim_time').type_ == Parameter.Type.BOOL

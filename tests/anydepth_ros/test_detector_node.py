"""The detector node in one process, on the toy bundle."""

from __future__ import annotations

from array import array
from functools import partial
from pathlib import Path
import threading

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo

from anydepth_core.export.bundle import Bundle
from anydepth_ros import detector_node
from anydepth_ros.camera import TELLS_SEQUENCE
from anydepth_ros.images import bgr_to_image
from anydepth_ros.qos import LATCHED
from anydepth_ros.serving import Serving
from anydepth_ros.topics import DIAGNOSTICS, OUTPUTS, STATS_KEYS
from tests.anydepth_core.support.toy_bundle import CLASS_NAMES, picture, write_toy_bundle
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.support import (
    make_detector,
    Probe,
    start_detector,
    wait_until_built,
    wait_until_matched,
)

FULL, BASE = '11-1', '00-0'


def test_an_image_is_answered_with_its_header_at_both_levels(
    graph: Graph, toy_bundle: Bundle
) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    message = probe.answer(probe.send(picture((0, 0, 0), (2, 1, 2))))
    assert sorted(d.results[0].hypothesis.class_id for d in message.detections) == ['0', '2']
    for header in (message.header, *(d.header for d in message.detections)):
        assert (header.stamp.sec, header.stamp.nanosec) == divmod(probe.last_stamp, 1_000_000_000)
        assert header.frame_id == 'camera'


def test_boxes_are_in_pixels_of_the_received_image(graph: Graph, toy_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    double = np.repeat(np.repeat(picture((1, 1, 1)), 2, 0), 2, 1)
    (detection,) = probe.answer(probe.send(double)).detections
    centre = detection.bbox.center.position
    assert (centre.x, centre.y) == pytest.approx((96, 96), abs=0.5)
    assert (detection.bbox.size_x, detection.bbox.size_y) == pytest.approx((96, 96), abs=0.5)
    assert 0.25 <= detection.results[0].hypothesis.score <= 1.0
    assert detection.bbox.center.theta == 0.0 and detection.id == ''


def test_nothing_found_publishes_an_empty_array(graph: Graph, toy_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    message = probe.answer(probe.send(picture()))
    assert list(message.detections) == []
    assert message.header.frame_id == 'camera'


@pytest.mark.parametrize(
    ('depth', 'expected', 'level'),
    [
        (0, BASE, '0'),
        (1, BASE, '1'),
        (2, FULL, '2'),
        ('base', BASE, '1'),
        ('01-0', '01-0', ''),
        ('100', '10-0', ''),
    ],
)
def test_a_depth_applies_to_the_next_frame(
    graph: Graph, toy_bundle: Bundle, depth: int | str, expected: str, level: str
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    assert probe.depth_of(probe.send()) == FULL
    assert probe.set(depth=depth) == (True, '')
    wait_until_built(detector)
    assert probe.depth_of(probe.send()) == expected
    assert probe.stats[probe.last_stamp]['level'] == level


@pytest.mark.parametrize(
    ('depth', 'expected', 'level'),
    [
        (0, '0000-0d2', '0'),
        ('base', '0000-0d2', '1'),
        ('full', '1111-1d3', '2'),
        ('0101-0', '0101-0d3', ''),
        ('0000-0d1', '0000-0d1', ''),
        ('11111d4', '1111-1d4', ''),
    ],
)
def test_a_depth_of_a_model_with_a_decoder_has_its_layers(
    graph: Graph, detr_bundle: Bundle, depth: int | str, expected: str, level: str
) -> None:
    detector, probe = start_detector(graph, model=str(detr_bundle.path), depth='1111-0')
    assert probe.depth_of(probe.send()) == '1111-0d3'
    assert probe.set(depth=depth) == (True, '')
    wait_until_built(detector)
    assert probe.depth_of(probe.send()) == expected
    assert probe.stats[probe.last_stamp]['level'] == level


def test_too_many_decoder_layers_are_refused(graph: Graph, detr_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(detr_bundle.path))
    accepted, reason = probe.set(depth='1111-1d5')
    assert not accepted and '1 to 4 decoder layers' in reason
    assert probe.depth_of(probe.send()) == '1111-1d3'


def test_a_model_without_suppression_ignores_the_overlap_and_keeps_the_best(
    graph: Graph, detr_bundle: Bundle
) -> None:
    _, probe = start_detector(graph, model=str(detr_bundle.path), iou_threshold=0.0)
    neighbours = picture((1, 0, 0), (1, 1, 0))
    assert len(probe.answer(probe.send(neighbours)).detections) == 2
    assert probe.set(max_detections=1) == (True, '')
    assert len(probe.answer(probe.send(neighbours)).detections) == 1


def test_a_model_that_stretches_answers_in_pixels_of_the_received_image(
    graph: Graph, detr_bundle: Bundle
) -> None:
    _, probe = start_detector(graph, model=str(detr_bundle.path))
    wide = np.repeat(picture((1, 1, 1)), 2, 1)
    (detection,) = probe.answer(probe.send(wide)).detections
    centre = detection.bbox.center.position
    assert (centre.x, centre.y) == pytest.approx((96, 48), abs=0.5)
    assert (detection.bbox.size_x, detection.bbox.size_y) == pytest.approx((96, 48), abs=0.5)


@pytest.mark.parametrize('depth', [3, -1, 'fulll', '11-11', '1-11', '', True, 1.0])
def test_an_illegal_depth_is_refused_with_what_is_legal(
    graph: Graph, toy_bundle: Bundle, depth: object
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path), depth='base')
    accepted, reason = probe.set(depth=depth)
    assert not accepted and "'full'" in reason and 'level' in reason
    assert detector.get_parameter('depth').value == 'base'
    assert probe.depth_of(probe.send()) == BASE


def test_no_message_is_lost_while_the_depth_changes(graph: Graph, toy_bundle: Bundle) -> None:
    """Images come as fast as they are answered, depths change all the time: each is answered."""
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    depths = [0, 'full', '10-1', 1, 'base', 2, '01-1', '00-1']
    done, refused = threading.Event(), []

    def switch() -> None:
        turn = 0
        while not done.is_set():
            accepted, reason = probe.set(depth=depths[turn % len(depths)])
            refused.extend([] if accepted else [reason])
            turn += 1

    thread = threading.Thread(target=switch)
    thread.start()
    try:
        stamps = [
            probe.send() for _ in range(60) if probe.answer(probe.last_stamp or probe.send())
        ]
        probe.answer(stamps[-1])
    finally:
        done.set()
        thread.join()
    assert refused == []
    assert set(stamps) <= set(probe.detections)
    assert len({probe.stats[stamp]['depth'] for stamp in stamps}) > 1
    assert probe.stats[stamps[-1]]['dropped'] == '0'
    assert all(len(message.detections) == 1 for message in probe.detections.values())


@pytest.mark.parametrize('depth', [0, 1, 2, 'base'])
def test_a_depth_of_the_ladder_takes_effect_on_the_very_next_frame(
    graph: Graph, toy_bundle: Bundle, depth: int | str
) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    assert probe.set(depth=depth) == (True, '')
    assert probe.depth_of(probe.send()) == (FULL if depth == 2 else BASE)


def test_the_nearest_depth_serves_while_another_is_built(graph: Graph, toy_bundle: Bundle) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    detector.runtime.build_gate.clear()
    detector.runtime.building.clear()
    assert probe.set(depth='10-0') == (True, '')
    assert detector.runtime.building.wait(20)
    assert [probe.depth_of(probe.send()) for _ in range(3)] == [BASE] * 3
    assert probe.stats[probe.last_stamp]['wanted_depth'] == '10-0'
    detector.runtime.build_gate.set()
    wait_until_built(detector)
    assert probe.depth_of(probe.send()) == '10-0'


def test_a_depth_that_cannot_be_built_is_told_and_the_nearest_serves_until_it_is_set_again(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    detector.runtime.fail_build = 'out of memory'
    assert probe.set(depth='01-1') == (True, '')
    wait_until(detector._serving.failed, 'the failure is noted')
    assert probe.depth_of(probe.send()) == FULL
    assert '01-1@96x96 could not be built: out of memory' in capfd.readouterr().err
    detector.runtime.fail_build = ''
    assert probe.set(depth='01-1') == (True, '')
    wait_until_built(detector)
    assert probe.depth_of(probe.send()) == '01-1'


def test_the_node_answers_everything_while_a_first_build_takes_long(
    graph: Graph, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_node, 'Serving', partial(Serving, patience_s=0.0))
    detector = make_detector(graph, model=str(toy_bundle.path), autostart=False)
    detector.hold_builds = True
    assert detector.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert detector.trigger_activate() == TransitionCallbackReturn.SUCCESS
    probe = Probe()
    graph.add(probe)
    probe.wait_for_detector()
    wait_until_matched(detector)
    stamp = probe.send()
    wait_until(lambda: stamp in probe.errors, 'the image is answered in stats')
    assert probe.errors[stamp] == 'no depth is ready yet: 11-1@96x96 is being built'
    assert probe.set(confidence_threshold=0.3) == (True, '')
    detector.runtime.build_gate.set()
    wait_until_built(detector)
    assert probe.depth_of(probe.send()) == FULL


def test_a_start_depth_that_cannot_be_built_leaves_the_node_unconfigured(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    detector = make_detector(graph, model=str(toy_bundle.path), autostart=False)
    detector.fail_build = 'out of memory'
    assert detector.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'cannot configure: out of memory' in capfd.readouterr().err
    detector.fail_build = ''
    assert detector.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_the_ladder_stays_ready_whatever_other_depths_were_used(
    graph: Graph, toy_bundle: Bundle
) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    for depth in ('10-0', '01-0', '10-1', '01-1', '00-1'):
        assert probe.set(depth=depth) == (True, '')
        wait_until_built(detector)
        assert probe.depth_of(probe.send()) == depth
    assert all(detector.runtime.ready(point) for point in toy_bundle.ladder.points)


def test_images_are_left_in_the_middleware_while_one_is_in_work_and_are_counted(
    graph: Graph, toy_bundle: Bundle
) -> None:
    if not TELLS_SEQUENCE:
        pytest.skip('this rclpy does not number messages: every image is taken')
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    tally = detector._cameras[''].tally
    detector.runtime.run_gate.clear()
    first = probe.send()
    assert detector.runtime.running.wait(20)
    waiting = [probe.send() for _ in range(4)]
    assert probe.set(max_detections=10) == (True, '')  # the executor is awake and takes none
    assert tally.report().received == 1
    detector.runtime.run_gate.set()
    probe.answer(waiting[-1])
    assert set(probe.detections) == {first, waiting[-1]}
    assert probe.stats[waiting[-1]]['dropped'] == '3'
    assert tally.report().received == 5


def test_without_message_numbers_every_image_is_taken_and_drops_are_counted(
    graph: Graph, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Humble: images replace each other in the worker's place instead."""
    monkeypatch.setattr('anydepth_ros.camera.TELLS_SEQUENCE', False)
    monkeypatch.setattr('anydepth_ros.detector_node.TELLS_SEQUENCE', False)
    detector, probe = start_detector(
        graph, model=str(toy_bundle.path), image_reliability='reliable'
    )
    tally = detector._cameras[''].tally
    detector.runtime.run_gate.clear()
    first = probe.send()
    assert detector.runtime.running.wait(20)
    waiting = []
    for received in range(2, 6):
        waiting.append(probe.send())
        # one by one, so that the subscription's own queue of one drops none
        wait_until(lambda received=received: tally.report().received == received)
    detector.runtime.run_gate.set()
    probe.answer(waiting[-1])
    assert set(probe.detections) == {first, waiting[-1]}
    assert probe.stats[waiting[-1]]['dropped'] == '3'


def bad_messages() -> dict[str, Image]:
    """Return images that cannot be read."""
    messages = {
        name: bgr_to_image(picture((0, 0, 0)), Image().header)
        for name in ('encoding', 'step', 'data')
    }
    messages['encoding'].encoding = 'cmyk8'
    messages['step'].step = 96
    messages['data'].data = array('B', bytes(100))
    return {**messages, 'empty': Image(encoding='bgr8')}


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('encoding', "'cmyk8' is not supported"),
        ('step', 'step 96'),
        ('data', 'truncated'),
        ('empty', 'image is empty'),
    ],
)
def test_a_bad_image_is_counted_and_the_next_one_answered(
    graph: Graph, toy_bundle: Bundle, name: str, words: str
) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    bad = probe.send_message(bad_messages()[name])
    assert words in wait_until(lambda: probe.errors.get(bad))
    good = probe.send()
    assert len(probe.answer(good).detections) == 1
    assert bad not in probe.detections
    assert probe.stats[good]['errors'] == '1'


def test_a_failing_back_end_does_not_end_the_node(graph: Graph, toy_bundle: Bundle) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    detector.runtime.fail_run = 'device lost'
    bad = probe.send()
    assert wait_until(lambda: probe.errors.get(bad)) == 'device lost'
    detector.runtime.fail_run = ''
    assert len(probe.answer(probe.send()).detections) == 1


def test_thresholds_apply_to_the_next_frame(graph: Graph, toy_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    assert probe.set(confidence_threshold=1.0) == (True, '')
    assert list(probe.answer(probe.send()).detections) == []
    assert probe.set(confidence_threshold=0.25, max_detections=1) == (True, '')
    assert len(probe.answer(probe.send(picture((0, 0, 0), (2, 2, 1)))).detections) == 1


@pytest.mark.parametrize(
    'change',
    [
        {'confidence_threshold': 1.5},
        {'iou_threshold': -0.1},
        {'max_detections': 0},
        {'threads': 1},
    ],
)
def test_a_change_out_of_range_or_out_of_time_is_refused(
    graph: Graph, toy_bundle: Bundle, change: dict[str, float]
) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    accepted, reason = probe.set(**change)
    assert not accepted and next(iter(change)) in reason
    assert len(probe.answer(probe.send()).detections) == 1


def test_a_missing_bundle_leaves_the_node_unconfigured_until_it_is_mended(
    graph: Graph, toy_bundle: Bundle, tmp_path: Path
) -> None:
    detector = make_detector(graph, model=str(tmp_path / 'nowhere'), autostart=False)
    assert detector.trigger_configure() == TransitionCallbackReturn.FAILURE
    probe = graph.add(Probe())
    wait_until(probe._client.service_is_ready)
    assert probe.set(model=str(toy_bundle.path)) == (True, '')
    assert detector.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert detector.trigger_activate() == TransitionCallbackReturn.SUCCESS
    probe.wait_for_detector()
    wait_until_matched(detector)
    assert len(probe.answer(probe.send()).detections) == 1


def test_a_bundle_with_a_wrong_hash_is_not_configured(
    graph: Graph, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = write_toy_bundle(tmp_path / 'toy')
    (bundle.path / 'labels.txt').write_text('red\ngreen\nblue\nblack\n')
    detector = make_detector(graph, model=str(bundle.path), autostart=False)
    assert detector.trigger_configure() == TransitionCallbackReturn.FAILURE
    line = capfd.readouterr().err
    assert 'cannot configure' in line and 'labels.txt' in line and 'expected' in line


def test_a_depth_of_another_model_is_not_configured(
    graph: Graph, toy_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    detector = make_detector(graph, model=str(toy_bundle.path), depth='1111-0000', autostart=False)
    assert detector.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'depth' in capfd.readouterr().err


def test_an_inactive_node_answers_nothing_and_resumes(graph: Graph, toy_bundle: Bundle) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    probe.answer(probe.send())
    assert detector.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    wait_until(lambda: probe.count_subscribers('image') == 0)
    unheard = probe.send()
    assert detector.trigger_activate() == TransitionCallbackReturn.SUCCESS
    probe.wait_for_detector()
    wait_until_matched(detector)
    assert len(probe.answer(probe.send()).detections) == 1
    assert unheard not in probe.detections


def test_a_node_can_be_cleaned_up_and_configured_again(graph: Graph, toy_bundle: Bundle) -> None:
    detector, probe = start_detector(graph, model=str(toy_bundle.path))
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert getattr(detector, f'trigger_{transition}')() == TransitionCallbackReturn.SUCCESS, (
            transition
        )
    probe.wait_for_detector()
    wait_until_matched(detector)
    assert len(probe.answer(probe.send()).detections) == 1
    assert detector.trigger_shutdown() == TransitionCallbackReturn.SUCCESS


def test_labels_reach_a_late_subscriber_and_follow_the_threshold(
    graph: Graph, toy_bundle: Bundle
) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    heard: list[LabelInfo] = []
    probe.create_subscription(LabelInfo, 'label_info', heard.append, LATCHED)
    wait_until(lambda: heard)
    assert [(c.class_id, c.class_name) for c in heard[0].class_map] == list(enumerate(CLASS_NAMES))
    assert heard[0].threshold == pytest.approx(0.25)
    assert probe.set(confidence_threshold=0.5) == (True, '')
    wait_until(lambda: len(heard) == 2)
    assert heard[1].threshold == pytest.approx(0.5)


def test_stats_carry_the_figures_of_the_frame(graph: Graph, toy_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    probe.answer(probe.send())
    values = probe.stats[probe.last_stamp]
    names = ('wait', 'preprocess', 'inference', 'postprocess', 'publish')
    steps = {name: float(values[f'{name}_ms']) for name in names}
    total, age = float(values['total_ms']), float(values['age_ms'])
    assert min(steps.values()) > 0 and sum(steps.values()) <= total + 0.01
    assert float(values['received_age_ms']) + total <= age + 1
    assert float(values['overhead_ms']) == pytest.approx(total - steps['inference'], abs=0.01)
    assert (
        values['detections'] == '1' and values['image_size'] == '96x96' and values['errors'] == '0'
    )


def test_stats_have_exactly_the_declared_keys(graph: Graph, toy_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    stamp = probe.send()
    probe.answer(stamp)
    assert list(probe.stats[stamp]) == list(STATS_KEYS)


def test_the_declared_topics_are_those_of_the_node(graph: Graph, toy_bundle: Bundle) -> None:
    detector, _ = start_detector(graph, model=str(toy_bundle.path))
    own = detector.get_publisher_names_and_types_by_node('detector', '/')
    ros = {'/parameter_events', '/rosout', '/detector/transition_event'}
    declared = {f'/{topic.name.lstrip("/")}' for topic in (*OUTPUTS, DIAGNOSTICS)}
    assert {name for name, _ in own} - ros == declared
    heard = detector.get_subscriber_names_and_types_by_node('detector', '/')
    assert ('/image', ['sensor_msgs/msg/Image']) in heard

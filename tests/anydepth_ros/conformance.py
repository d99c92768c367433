"""The rules of the messages, checked by whoever hears a detector: in one process or across two.

The rules are those of the message definitions themselves (vision_msgs: headers equal that of the
source data; LabelInfo: latched names of the ids) and of every consumer: boxes in pixels of the
image that was sent, one message for each image, an empty one where nothing is found.
"""

from __future__ import annotations

import numpy as np
import pytest
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from tests.anydepth_core.support.toy_bundle import CLASS_NAMES
from tests.anydepth_ros.conftest import wait_until
from tests.anydepth_ros.support import Probe

# (height, width): square, wide, tall, odd in both, one pixel high
SIZES = [(96, 96), (97, 203), (211, 101), (1, 640), (480, 641)]


def scene(height: int, width: int) -> np.ndarray:
    """Return a grey picture whose left two thirds are purely red, green in the right quarter."""
    image_bgr = np.full((height, width, 3), 40, np.uint8)
    image_bgr[:, : 2 * width // 3] = (0, 0, 255)
    image_bgr[:, 3 * width // 4 :] = (0, 255, 0)
    return image_bgr


def check_headers(probe: Probe) -> None:
    """Stamp and frame are those of the image, at both levels, whatever they are."""
    stamps = [0, 1, 999_999_999, 2**31 * 1_000_000_000 - 1]
    for index, stamp in enumerate(stamps):
        header = Header(frame_id=('camera', '', 'a/b_optical', 'ünïcode')[index])
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        message = probe.answer(probe.send_with(header, scene(96, 96)))
        assert len(message.detections) > 0
        for one in (message.header, *(found.header for found in message.detections)):
            assert one == header


def check_boxes(probe: Probe) -> None:
    """Boxes are in pixels of the image that was sent and inside it, whatever its size."""
    for height, width in SIZES:
        message = probe.answer(probe.send(scene(height, width)))
        assert message.detections or height == 1, (height, width)
        for found in message.detections:
            box, centre = found.bbox, found.bbox.center
            left, right = centre.position.x - box.size_x / 2, centre.position.x + box.size_x / 2
            top, bottom = centre.position.y - box.size_y / 2, centre.position.y + box.size_y / 2
            assert -0.01 <= left < right <= width + 0.01
            assert -0.01 <= top < bottom <= height + 0.01
            assert centre.theta == 0.0 and found.id == ''
            (result,) = found.results
            assert 0.0 <= result.hypothesis.score <= 1.0
            colour = {'0': (0, 0.75), '1': (0.6, 1.0)}[result.hypothesis.class_id]
            assert colour[0] <= centre.position.x / width <= colour[1]


def check_empty(probe: Probe) -> None:
    """Nothing found is a message too."""
    message = probe.answer(probe.send(np.zeros((50, 70, 3), np.uint8)))
    assert isinstance(message, Detection2DArray)
    assert list(message.detections) == []
    assert message.header.frame_id == 'camera'


def check_one_message_for_each_image(probe: Probe) -> None:
    """Each image that is answered is answered once, in the order of the images."""
    before = len(probe.order)
    stamps = [probe.send(scene(96, 96)) for _ in range(1)]
    for _ in range(9):
        probe.answer(stamps[-1])
        stamps.append(probe.send(scene(96, 96)))
    probe.answer(stamps[-1])
    assert probe.order[before:] == stamps


def check_labels(probe: Probe, heard: list[LabelInfo]) -> None:
    """A late subscriber hears the names, and again when they change."""
    wait_until(lambda: heard, 'the labels')
    assert [(one.class_id, one.class_name) for one in heard[-1].class_map] == list(
        enumerate(CLASS_NAMES)
    )
    assert heard[-1].threshold == pytest.approx(0.25)
    count = len(heard)
    assert probe.set(confidence_threshold=0.5) == (True, '')
    wait_until(lambda: len(heard) > count, 'the labels with the new threshold')
    assert heard[-1].threshold == pytest.approx(0.5)
    assert probe.set(confidence_threshold=0.25) == (True, '')


def check_names(probe: Probe) -> None:
    """With class_id_format name the ids are the names."""
    assert probe.set(class_id_format='name') == (True, '')
    message = probe.answer(probe.send(scene(96, 96)))
    assert {found.results[0].hypothesis.class_id for found in message.detections} == {
        'red',
        'green',
    }
    assert probe.set(class_id_format='index') == (True, '')


def check_stats(probe: Probe) -> None:
    """The figures of a frame have the stamp of its image."""
    stamp = probe.send(scene(96, 96))
    message = probe.answer(stamp)
    assert probe.stats[stamp]['detections'] == str(len(message.detections))


def check_everything(probe: Probe, heard: list[LabelInfo]) -> None:
    """Check all rules; ``heard`` are the labels of a subscription of the probe's."""
    check_headers(probe)
    check_boxes(probe)
    check_empty(probe)
    check_one_message_for_each_image(probe)
    check_labels(probe, heard)
    check_names(probe)
    check_stats(probe)

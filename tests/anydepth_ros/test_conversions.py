"""Message conversions: detections there and back by index and by name, labels, stats."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray

from anydepth_core.structures import Detections
from anydepth_ros import conversions

NAMES = ['person', 'traffic light', '2', 'car']


def found_with(labels: list[int]) -> Detections:
    """Return detections with these labels, boxes side by side."""
    left = np.arange(len(labels), dtype=np.float32) * 10
    boxes = np.stack([left, left * 0 + 4, left + 6, left * 0 + 12], 1)
    return Detections(boxes, np.full(len(labels), 0.5, np.float32), np.array(labels, np.int64))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.booleans(), st.integers(0, 2**31))
def test_detections_read_back_as_they_were(count: int, by_name: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 300, (count, 2))], 1).astype(
        np.float32
    )
    scores = np.sort(rng.uniform(0, 1, count))[::-1].astype(np.float32)
    found = Detections(boxes, scores, rng.integers(0, len(NAMES), count))
    names = NAMES if by_name else None
    message = conversions.detections_to_message(found, Header(), names)
    back = conversions.message_to_detections(message, names)
    np.testing.assert_allclose(back.boxes_xyxy_px, boxes, atol=1e-3)
    np.testing.assert_array_equal(back.scores, scores)
    np.testing.assert_array_equal(back.labels, found.labels)


def test_a_class_id_is_the_decimal_index_or_the_name() -> None:
    found = found_with([3, 0, 2])

    def class_ids(message: Detection2DArray) -> list[str]:
        return [d.results[0].hypothesis.class_id for d in message.detections]

    assert class_ids(conversions.detections_to_message(found, Header())) == ['3', '0', '2']
    by_name = conversions.detections_to_message(found, Header(), NAMES)
    assert class_ids(by_name) == ['car', 'person', '2']


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, len(NAMES) - 1), max_size=4), max_size=5), st.booleans())
def test_a_writer_makes_the_same_message_whatever_it_wrote_before(
    images: list[list[int]], by_name: bool
) -> None:
    write = conversions.DetectionsWriter()
    for index, labels in enumerate(images):
        header, names = Header(frame_id=str(index)), NAMES if by_name else None
        fresh = conversions.detections_to_message(found_with(labels), header, names)
        assert write(found_with(labels), header, names) == fresh


def test_the_header_of_the_image_is_in_the_array_and_in_every_detection() -> None:
    header = Header(frame_id='cam')
    header.stamp.sec, header.stamp.nanosec = 12, 34
    message = conversions.detections_to_message(found_with([1, 1]), header)
    assert message.header == header and [d.header for d in message.detections] == [header] * 2
    assert conversions.detections_to_message(Detections.empty(), header).header == header


@pytest.mark.parametrize(
    ('class_id', 'names', 'words'),
    [
        ('car', None, "'car' of a detection is not a decimal index"),
        ('', None, "''"),
        ('-1', None, "'-1'"),
        ('1.0', None, "'1.0'"),
        ('٣', None, 'decimal'),
        ('9' * 5000, None, '9' * 40 + "'"),
        ('9' * 30, None, 'decimal'),
        ('boat', NAMES, "'boat' of a detection is not a name of this model: it has person, "),
        ('3', NAMES, "'3'"),
        ('b\noat', NAMES, r"'b\noat'"),
    ],
)
def test_a_class_id_that_is_not_known_is_refused_in_one_sentence(
    class_id: str, names: list[str] | None, words: str
) -> None:
    message = conversions.detections_to_message(found_with([0, 1]), Header())
    message.detections[1].results[0].hypothesis.class_id = class_id
    message.detections[0].results[0].hypothesis.class_id = 'person' if names else '0'
    with pytest.raises(ValueError) as refusal:
        conversions.message_to_detections(message, names)
    assert words in str(refusal.value)
    assert '\n' not in str(refusal.value) and len(str(refusal.value)) < 200


def test_a_detection_without_a_hypothesis_is_skipped() -> None:
    message = conversions.detections_to_message(found_with([2]), Header())
    message.detections = [Detection2D(), *message.detections]
    assert conversions.message_to_detections(message).labels.tolist() == [2]
    assert (
        len(conversions.message_to_detections(Detection2DArray(detections=[Detection2D()]))) == 0
    )


def test_label_info_names_every_index() -> None:
    message = conversions.label_info(NAMES, 0.25, Header(frame_id='cam'))
    assert [(c.class_id, c.class_name) for c in message.class_map] == list(enumerate(NAMES))
    assert (message.threshold, message.header.frame_id) == (0.25, 'cam')


def test_stats_read_back_by_key_with_the_stamp() -> None:
    header = Header(frame_id='cam')
    header.stamp.sec, header.stamp.nanosec = 12, 34
    message = conversions.stats_message(header, 'toy', {'depth': '11-1', 'total_ms': 1.25})
    assert conversions.stats_values(message) == {'depth': '11-1', 'total_ms': '1.250'}
    assert conversions.stamp_ns(message.header) == 12_000_000_034
    assert message.status[0].level == b'\x00' and message.status[0].hardware_id == 'toy'
    failed = conversions.stats_message(header, 'toy', {}, 'no good')
    assert failed.status[0].level == b'\x02' and failed.status[0].message == 'no good'

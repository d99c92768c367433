"""Message conversions: every encoding, row padding, detections there and back."""

from __future__ import annotations

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from anydepth_core.structures import Detections
from anydepth_ros import conversions


def message_of(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    """Pack (H, W, C) pixels with padded rows."""
    height, width, channels = pixels.shape
    rows = np.full((height, width * channels + padding), 99, np.uint8)
    rows[:, : width * channels] = pixels.reshape(height, -1)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=width * channels + padding,
        data=array('B', rows.tobytes()),
    )


sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 7), st.integers(0, 2**31))
def test_every_encoding_gives_the_same_picture_whatever_the_padding(
    size: tuple[int, int], padding: int, seed: int
) -> None:
    bgr = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    alpha = np.full((*size, 1), 7, np.uint8)
    rgb = bgr[..., ::-1]
    for encoding, pixels in {
        'bgr8': bgr,
        'rgb8': rgb,
        'bgra8': np.concatenate([bgr, alpha], 2),
        'rgba8': np.concatenate([rgb, alpha], 2),
    }.items():
        result = conversions.image_to_bgr(message_of(pixels, encoding, padding))
        np.testing.assert_array_equal(result, bgr, err_msg=encoding)
    grey = conversions.image_to_bgr(message_of(bgr[..., :1], 'mono8', padding))
    np.testing.assert_array_equal(grey, np.repeat(bgr[..., :1], 3, 2))


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 2**31))
def test_an_image_message_reads_back_as_the_image(size: tuple[int, int], seed: int) -> None:
    image_bgr = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    header = Header(frame_id='cam')
    for view in (image_bgr, image_bgr[:, ::-1]):
        message = conversions.bgr_to_image(view, header)
        assert (message.header.frame_id, message.step) == ('cam', 3 * size[1])
        np.testing.assert_array_equal(conversions.image_to_bgr(message), view)


def test_reading_bgr8_copies_nothing() -> None:
    message = message_of(np.zeros((4, 4, 3), np.uint8), 'bgr8')
    result = conversions.image_to_bgr(message)
    message.data[0] = 5
    assert result[0, 0, 0] == 5


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'encoding': '16UC1'}, 'bgr8, rgb8, bgra8, rgba8, mono8'),
        ({'encoding': ''}, "''"),
        ({'height': 0}, 'height 0'),
        ({'width': 0}, 'width 0'),
        ({'step': 11}, '12 bytes a row'),
        ({'height': 5}, '60 bytes, 48 were received'),
        ({'data': array('B')}, '0 were received'),
    ],
)
def test_a_wrong_image_is_refused_in_one_sentence(change: dict[str, object], words: str) -> None:
    message = message_of(np.zeros((4, 4, 3), np.uint8), 'bgr8')
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError) as refusal:
        conversions.image_to_bgr(message)
    assert words in str(refusal.value)
    assert '\n' not in str(refusal.value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.integers(0, 2**31))
def test_detections_read_back_as_they_were(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 300, (count, 2))], 1).astype(
        np.float32
    )
    scores = np.sort(rng.uniform(0, 1, count))[::-1].astype(np.float32)
    found = Detections(boxes, scores, rng.integers(0, 31, count))
    back = conversions.message_to_detections(conversions.detections_to_message(found, Header()))
    np.testing.assert_allclose(back.boxes_xyxy_px, boxes, atol=1e-3)
    np.testing.assert_array_equal(back.scores, scores)
    np.testing.assert_array_equal(back.labels, found.labels)


def test_stats_read_back_by_key_with_the_stamp() -> None:
    header = Header(frame_id='cam')
    header.stamp.sec, header.stamp.nanosec = 12, 34
    message = conversions.stats_message(header, 'toy', {'depth': '11-1', 'total_ms': 1.25})
    assert conversions.stats_values(message) == {'depth': '11-1', 'total_ms': '1.250'}
    assert conversions.stamp_ns(message.header) == 12_000_000_034
    assert message.status[0].level == b'\x00' and message.status[0].hardware_id == 'toy'
    failed = conversions.stats_message(header, 'toy', {}, 'no good')
    assert failed.status[0].level == b'\x02' and failed.status[0].message == 'no good'

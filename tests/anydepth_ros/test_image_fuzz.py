"""Images with random fields: a picture of the declared size or a ValueError, nothing else."""

from __future__ import annotations

from array import array
from collections.abc import Callable
import tracemalloc
from typing import Any

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from anydepth_ros import images

Draw = Callable[[st.SearchStrategy[Any]], Any]

encodings = st.one_of(
    st.sampled_from(list(images.ENCODINGS)),
    st.sampled_from(['', 'nv24', '16UC1', '32FC1', '8UC3', 'jpeg', 'BGR8', 'bgr8 ', 'a\nb']),
    st.text(max_size=8),
)
lengths = st.one_of(
    st.integers(0, 9), st.sampled_from([255, 65536, 2**20, 2**31 - 1, 2**31, 2**32 - 1])
)


def read(reader: Callable[[Any], np.ndarray], message: Any, most: int) -> np.ndarray | None:
    """Return the picture, or None if it was refused; check what either may look like."""
    tracemalloc.start()
    try:
        image = reader(message)
    except ValueError as error:
        assert str(error) and '\n' not in str(error)
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert image.strides[1:] == (3, 1)
    return image


@settings(max_examples=1200, deadline=None)
@given(encodings, lengths, lengths, lengths, st.integers(0, 255), st.binary(max_size=200))
def test_any_fields_give_a_picture_of_the_declared_size_or_a_refusal(
    encoding: str, height: int, width: int, step: int, is_bigendian: int, data: bytes
) -> None:
    message = Image(
        height=height, width=width, encoding=encoding, is_bigendian=is_bigendian, step=step
    )
    message.data = array('B', data)
    image = read(images.image_to_bgr, message, 100_000)
    assert image is None or image.shape == (height, width, 3)


@st.composite
def nearly_right(draw: Draw) -> tuple[Image, bool]:
    """Return an image and whether it holds enough bytes."""
    encoding = draw(st.sampled_from(list(images.ENCODINGS)))
    layout = images.ENCODINGS[encoding]
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    row_bytes = width * layout.channels * layout.sample_bytes
    step = row_bytes + draw(st.integers(-1, 5))
    rows = height * 3 // 2 if layout.chroma_rows else height
    size = max(0, rows * step + draw(st.integers(-2, 3)))
    message = Image(
        height=height, width=width, encoding=encoding, step=step, is_bigendian=draw(st.booleans())
    )
    message.data = array('B', draw(st.binary(min_size=size, max_size=size)))
    legal = (
        step >= row_bytes
        and size >= rows * step
        and min(height, width) >= layout.min_size
        and not (layout.even_width and width % 2)
        and not (layout.even_height and height % 2)
    )
    return message, legal


@settings(max_examples=800, deadline=None)
@given(nearly_right())
def test_an_image_is_read_if_and_only_if_its_fields_agree(case: tuple[Image, bool]) -> None:
    message, legal = case
    image = read(images.image_to_bgr, message, 100_000)
    assert (image is not None) == legal
    assert image is None or image.shape == (message.height, message.width, 3)


def pictures() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    return [
        bytes(cv2.imencode('.jpg', noise)[1]),
        bytes(cv2.imencode('.jpg', noise, progressive)[1]),
        bytes(cv2.imencode('.jpg', noise[..., 0])[1]),
        bytes(cv2.imencode('.png', noise)[1]),
        bytes(cv2.imencode('.png', noise.astype(np.uint16) * 257)[1]),
    ]


@st.composite
def damaged_files(draw: Draw) -> bytes:
    """Return a JPEG or PNG with a few bytes changed and perhaps cut off."""
    data = bytearray(draw(st.sampled_from(pictures())))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    kept = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return bytes(data[:kept])


@settings(max_examples=500, deadline=None)
@given(st.one_of(damaged_files(), st.binary(max_size=100)), st.text(max_size=8))
def test_any_compressed_bytes_give_a_picture_or_a_refusal(data: bytes, format_text: str) -> None:
    message = CompressedImage(format=format_text, data=array('B', data))
    most = 3 * images.MAX_COMPRESSED_PIXELS + 100_000
    image = read(images.compressed_to_bgr, message, most)
    assert image is None or image.shape[0] * image.shape[1] <= images.MAX_COMPRESSED_PIXELS


def test_undamaged_files_are_read() -> None:
    for data in pictures():
        image = read(images.compressed_to_bgr, CompressedImage(data=array('B', data)), 100_000)
        assert image is not None and image.shape == (9, 12, 3)

"""The image that the camera sends: made once, then only its stamp changes; no node."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

_FROM_BGR = {
    'bgr8': None,
    'rgb8': cv2.COLOR_BGR2RGB,
    'bgra8': cv2.COLOR_BGR2BGRA,
    'rgba8': cv2.COLOR_BGR2RGBA,
    'mono8': cv2.COLOR_BGR2GRAY,
}
# Serialised, the stamp follows four bytes that say how numbers are written: here little endian.
_LITTLE_ENDIAN = 1
_STAMP = struct.Struct('<iI')
_STAMP_AT = 4


def picture(size: tuple[int, int], image_bgr: np.ndarray | None = None) -> np.ndarray:
    """Return a picture scaled to (width, height), or noise of that size, as (H, W, 3) uint8."""
    if image_bgr is None:
        return np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA)


def image_message(image_bgr: np.ndarray, encoding: str) -> Image:
    """Make the message of a picture in an encoding (a key of ``_FROM_BGR``)."""
    conversion = _FROM_BGR[encoding]
    pixels = image_bgr if conversion is None else cv2.cvtColor(image_bgr, conversion)
    message = Image(header=Header(frame_id='camera'), encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.size // message.height
    message.data.frombytes(pixels.tobytes())
    return message


def with_stamp(serialised: bytearray, stamp_ns: int) -> bytes:
    """Return a serialised message whose first field is a header, with another stamp.

    Raises:
        ValueError: if its numbers are not written little endian.
    """
    if serialised[1] & 1 != _LITTLE_ENDIAN:
        raise ValueError('the middleware writes numbers big endian: stamps cannot be set')
    _STAMP.pack_into(serialised, _STAMP_AT, *divmod(stamp_ns, 1_000_000_000))
    return bytes(serialised)

"""From image messages to BGR arrays and back; no node, no publisher, no state."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
import re

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from anydepth_ros import bridge

MAX_COMPRESSED_PIXELS = 2**26
"""More pixels than this are refused before they are decoded: a few bytes may declare gigabytes."""


@dataclass(frozen=True)
class Encoding:
    """How the pixels of one encoding lie in a message.

    Attributes:
        channels: samples per pixel.
        to_bgr: the conversion of OpenCV; None: the samples are BGR already.
        sample_bytes: 1 or 2.
        even_width, even_height: two pixels in this direction share their colour.
        chroma_rows: half as many rows again follow the image and carry its colour (4:2:0).
        min_size: the smallest width and height with a defined colour.
    """

    channels: int
    to_bgr: int | None
    sample_bytes: int = 1
    even_width: bool = False
    even_height: bool = False
    chroma_rows: bool = False
    min_size: int = 1


def _bayer(to_bgr: int, sample_bytes: int) -> Encoding:
    # OpenCV answers black, without an error, where a pattern has fewer than three rows or columns.
    return Encoding(1, to_bgr, sample_bytes, min_size=3)


def _yuv422(to_bgr: int) -> Encoding:
    return Encoding(2, to_bgr, even_width=True)


def _yuv420(to_bgr: int) -> Encoding:
    return Encoding(1, to_bgr, even_width=True, even_height=True, chroma_rows=True)


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's
# first and second: bayer_rggb is BayerBG.
ENCODINGS: dict[str, Encoding] = {
    'bgr8': Encoding(3, None),
    'rgb8': Encoding(3, cv2.COLOR_RGB2BGR),
    'bgra8': Encoding(4, cv2.COLOR_BGRA2BGR),
    'rgba8': Encoding(4, cv2.COLOR_RGBA2BGR),
    'mono8': Encoding(1, cv2.COLOR_GRAY2BGR),
    'bgr16': Encoding(3, None, 2),
    'rgb16': Encoding(3, cv2.COLOR_RGB2BGR, 2),
    'bgra16': Encoding(4, cv2.COLOR_BGRA2BGR, 2),
    'rgba16': Encoding(4, cv2.COLOR_RGBA2BGR, 2),
    'mono16': Encoding(1, cv2.COLOR_GRAY2BGR, 2),
    'yuv422': _yuv422(cv2.COLOR_YUV2BGR_UYVY),
    'uyvy': _yuv422(cv2.COLOR_YUV2BGR_UYVY),
    'yuv422_yuy2': _yuv422(cv2.COLOR_YUV2BGR_YUY2),
    'yuyv': _yuv422(cv2.COLOR_YUV2BGR_YUY2),
    'nv12': _yuv420(cv2.COLOR_YUV2BGR_NV12),
    'nv21': _yuv420(cv2.COLOR_YUV2BGR_NV21),
    'bayer_rggb8': _bayer(cv2.COLOR_BayerBG2BGR, 1),
    'bayer_bggr8': _bayer(cv2.COLOR_BayerRG2BGR, 1),
    'bayer_gbrg8': _bayer(cv2.COLOR_BayerGR2BGR, 1),
    'bayer_grbg8': _bayer(cv2.COLOR_BayerGB2BGR, 1),
    'bayer_rggb16': _bayer(cv2.COLOR_BayerBG2BGR, 2),
    'bayer_bggr16': _bayer(cv2.COLOR_BayerRG2BGR, 2),
    'bayer_gbrg16': _bayer(cv2.COLOR_BayerGR2BGR, 2),
    'bayer_grbg16': _bayer(cv2.COLOR_BayerGB2BGR, 2),
}


def message_to_bgr(message: Image | CompressedImage) -> np.ndarray:
    """Read a raw or compressed image message; see the two functions it chooses from."""
    return image_to_bgr(message) if isinstance(message, Image) else compressed_to_bgr(message)


def image_to_bgr(message: Image) -> np.ndarray:
    """Read an image message.

    Args:
        message: an image in one of ``ENCODINGS``, or in one that an installed cv_bridge knows;
            padding at the end of its rows and bytes after its last row are skipped.

    Returns:
        (H, W, 3) uint8 BGR; 16-bit samples are scaled by 255 / 65535 and rounded. For ``bgr8`` it
        shares the memory of the message: do not write into it.

    Raises:
        ValueError: if the encoding is not supported or sizes contradict each other, in one
            sentence.
    """
    height, width = message.height, message.width
    if height == 0 or width == 0:
        raise ValueError(f'image is empty: height {height}, width {width}; both must be 1 or more')
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return _by_cv_bridge(message)
    _check_size(message, encoding)
    samples = _samples(message, encoding)
    bgr = samples if encoding.to_bgr is None else cv2.cvtColor(samples, encoding.to_bgr)
    return _to_8_bit(bgr)


def _by_cv_bridge(message: Image) -> np.ndarray:
    try:
        return bridge.to_bgr(message)
    except ValueError as error:
        raise ValueError(
            f'image encoding {_quoted(message.encoding)} is not supported ({error}): use one of '
            f'{", ".join(ENCODINGS)}'
        ) from error


def _check_size(message: Image, encoding: Encoding) -> None:
    height, width = message.height, message.width
    if min(height, width) < encoding.min_size:
        raise ValueError(
            f'image size {width}x{height} is too small: {message.encoding} needs '
            f'{encoding.min_size}x{encoding.min_size} pixels or more'
        )
    if encoding.even_width and width % 2:
        raise ValueError(f'image width {width} is odd: {message.encoding} needs an even one')
    if encoding.even_height and height % 2:
        raise ValueError(f'image height {height} is odd: {message.encoding} needs an even one')


def _samples(message: Image, encoding: Encoding) -> np.ndarray:
    """Return (rows, W) or (rows, W, C) samples without the row padding.

    They share the memory of the message; only 16-bit samples in the other byte order or at odd
    addresses, which OpenCV refuses, are copied.
    """
    width, step = message.width, message.step
    rows = message.height * 3 // 2 if encoding.chroma_rows else message.height
    row_bytes = width * encoding.channels * encoding.sample_bytes
    if step < row_bytes:
        raise ValueError(
            f'image step {step} is too small: {width} pixels of {message.encoding} need '
            f'{row_bytes} bytes a row'
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * rows:
        raise ValueError(
            f'image data is truncated: {rows} rows of {step} bytes need {step * rows} bytes, '
            f'{data.size} were received'
        )
    samples = data[: step * rows].reshape(rows, step)[:, :row_bytes]
    if encoding.sample_bytes == 2:
        in_message = samples.view('>u2' if message.is_bigendian else '<u2')
        samples = np.require(in_message, np.uint16, ['ALIGNED'])
    if encoding.channels == 1:
        return samples
    return samples.reshape(rows, width, encoding.channels)


def _to_8_bit(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else cv2.convertScaleAbs(image, alpha=255 / 65535)


def compressed_to_bgr(message: CompressedImage) -> np.ndarray:
    """Read a compressed image message.

    Args:
        message: a JPEG or PNG picture of at most ``MAX_COMPRESSED_PIXELS``. Its bytes decide;
            ``format`` only tells a depth image from a picture.

    Returns:
        (H, W, 3) uint8 BGR as stored: an EXIF orientation turns nothing, because detections are
        in pixels of the received image.

    Raises:
        ValueError: if it is no such picture or is damaged, in one sentence.
    """
    if 'compressedDepth' in message.format or message.format.startswith('16UC1'):
        raise ValueError(
            f'compressed image of format {_quoted(message.format)} is a depth image: subscribe to '
            'a colour or grey camera'
        )
    data = bytes(message.data)
    width, height = _declared_size(data, message.format)
    if width * height > MAX_COMPRESSED_PIXELS:
        raise ValueError(
            f'compressed image declares {width}x{height} pixels: at most {MAX_COMPRESSED_PIXELS} '
            'are decoded'
        )
    return _to_8_bit(_decode(data))


def _declared_size(data: bytes, format_text: str) -> tuple[int, int]:
    """Return width and height from the header, before a decoder reserves memory for them."""
    if not data:
        raise ValueError('compressed image is empty: it needs the bytes of a JPEG or PNG picture')
    if data.startswith(b'\x89PNG\r\n\x1a\n'):
        return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    if data.startswith(b'\xff\xd8\xff'):
        return _jpeg_size(data)
    raise ValueError(
        f'compressed image of format {_quoted(format_text)} is neither JPEG nor PNG: its data '
        f'starts with {data[:4].hex(" ")}'
    )


# A marker is a byte after 0xff, other than 0x00 and 0xff, which fills (ITU-T T.81, B.1.1.2).
_MARKER = re.compile(rb'\xff([^\x00\xff])')
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the frame header, which is where a decoder takes them from."""
    position = 2
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker in _FRAME_HEADERS:
            # Versions of OpenCV differ on a truncated picture: some fill it up with grey.
            if data.rfind(b'\xff\xd9') < position:
                break
            height, width = data[position + 3 : position + 5], data[position + 5 : position + 7]
            return int.from_bytes(width, 'big'), int.from_bytes(height, 'big')
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            break
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], 'big')
    raise ValueError(f'compressed image is damaged or truncated: {len(data)} bytes of JPEG')


def _decode(data: bytes) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f'compressed image is damaged or truncated: {len(data)} bytes')
    return image


def bgr_to_image(image_bgr: np.ndarray, header: Header) -> Image:
    """Make an image message.

    Args:
        image_bgr: (H, W, 3) uint8.
        header: stamp and frame of the image.
    """
    height, width = image_bgr.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding='bgr8', is_bigendian=0, step=3 * width
    )
    # An array of bytes is taken over as it is; assigning an ndarray would be checked byte by byte
    # (0.4 s for 1080p).
    message.data = array('B', np.ascontiguousarray(image_bgr).tobytes())
    return message


def _quoted(text: str) -> str:
    """Return a text of the message for a sentence: on one line and never long."""
    return repr(text[:40])

"""Images: every encoding against hand-made pixels, padding, byte order, compressed pictures."""

from __future__ import annotations

from array import array
import struct
import sys
import tracemalloc
import zlib

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from anydepth_ros import images


def message_of(
    samples: np.ndarray,
    encoding: str,
    padding: int = 0,
    big_endian: bool = False,
    height: int | None = None,
) -> Image:
    """Pack (rows, W, C) samples with padded rows and a few bytes after the last one."""
    rows, width = samples.shape[:2]
    swapped = samples if big_endian == (sys.byteorder == 'big') else samples.byteswap()
    packed = np.ascontiguousarray(swapped).reshape(rows, -1).view(np.uint8)
    padded = np.full((rows, packed.shape[1] + padding), 99, np.uint8)
    padded[:, : packed.shape[1]] = packed
    return Image(
        height=rows if height is None else height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=array('B', padded.tobytes() + b'end'),
    )


sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 7), st.booleans(), st.integers(0, 2**31))
def test_every_packed_encoding_gives_the_same_picture_whatever_the_padding(
    size: tuple[int, int], padding: int, big_endian: bool, seed: int
) -> None:
    bgr16 = np.random.default_rng(seed).integers(0, 65536, (*size, 3), np.uint16)
    bgr = ((bgr16.astype(np.int64) + 128) // 257).astype(np.uint8)
    for bits, colours, expected in ((8, bgr, bgr), (16, bgr16, bgr)):
        alpha, rgb = np.full((*size, 1), 7, colours.dtype), colours[..., ::-1]
        for encoding, samples in {
            'bgr': colours,
            'rgb': rgb,
            'bgra': np.concatenate([colours, alpha], 2),
            'rgba': np.concatenate([rgb, alpha], 2),
        }.items():
            message = message_of(samples, f'{encoding}{bits}', padding, big_endian)
            np.testing.assert_array_equal(images.image_to_bgr(message), expected)
        grey = images.image_to_bgr(
            message_of(colours[..., :1], f'mono{bits}', padding, big_endian)
        )
        np.testing.assert_array_equal(grey, np.repeat(expected[..., :1], 3, 2))


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 5, 6])
def test_every_16_bit_value_is_rounded_to_the_nearest_8_bit_one(
    big_endian: bool, padding: int
) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    result = images.image_to_bgr(message_of(values, 'mono16', padding, big_endian))
    np.testing.assert_array_equal(result[..., 1], (values.astype(np.int64) + 128) // 257)


# Y, U, V and the BGR it means in BT.601 with studio range, computed by hand:
# B = 1.164 (Y - 16) + 2.018 (U - 128), R = 1.164 (Y - 16) + 1.596 (V - 128),
# G = 1.164 (Y - 16) - 0.813 (V - 128) - 0.391 (U - 128), clipped.
RED, BLUE, MIXED = (81, 90, 240), (41, 240, 110), (126, 100, 160)
BGR_OF = {RED: (0, 0, 254), BLUE: (255, 0, 0), MIXED: (72, 113, 179)}


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
def test_yuv_with_two_pixels_a_colour_equals_hand_made_values(
    encoding: str, order: str, padding: int
) -> None:
    pairs = [bytes(dict(zip('yuv', colour))[part] for part in order) for colour in BGR_OF]
    samples = np.frombuffer(b''.join(pairs) * 3, np.uint8).reshape(3, 6, 2)
    result = images.image_to_bgr(message_of(samples, encoding, padding))
    expected = np.repeat(np.array([list(BGR_OF.values())] * 3), 2, 1)
    assert np.abs(result.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize(('encoding', 'first', 'second'), [('nv12', 1, 2), ('nv21', 2, 1)])
def test_yuv_with_four_pixels_a_colour_equals_hand_made_values(
    encoding: str, first: int, second: int, padding: int
) -> None:
    light = [y for y, _, _ in BGR_OF for _ in range(2)]
    colour = [part for yuv in BGR_OF for part in (yuv[first], yuv[second])]
    samples = np.array([light] * 4 + [colour] * 2, np.uint8)
    result = images.image_to_bgr(message_of(samples, encoding, padding, height=4))
    expected = np.repeat(np.array([list(BGR_OF.values())] * 4), 2, 1)
    assert result.shape == (4, 6, 3)
    assert np.abs(result.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('size', [(3, 3), (4, 6), (5, 7)])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_bayer_mosaic_of_one_colour_gives_that_colour(
    pattern: str, bits: int, big_endian: bool, size: tuple[int, int]
) -> None:
    value = {'b': 50, 'g': 100, 'r': 200}
    tile = np.array([value[letter] for letter in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (4, 4))[: size[0], : size[1]]
    samples = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257 + 3
    message = message_of(samples, f'bayer_{pattern}{bits}', 5, big_endian)
    expected = np.full((*size, 3), (50, 100, 200), np.uint8)
    np.testing.assert_array_equal(images.image_to_bgr(message), expected)


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_bayer_pixel_is_the_mean_of_its_neighbours(pattern: str) -> None:
    mosaic = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)
    bgr = images.image_to_bgr(message_of(mosaic, f'bayer_{pattern}8'))
    row, column = divmod(pattern.index('r'), 2)
    row, column = row + 2, column + 2
    around = mosaic[row - 1 : row + 2, column - 1 : column + 2].astype(int)
    blue = around[::2, ::2].sum() / 4
    green = (around[0, 1] + around[1, 0] + around[1, 2] + around[2, 1]) / 4
    assert bgr[row, column, 2] == mosaic[row, column]
    assert np.abs(bgr[row, column, :2] - (blue, green)).max() <= 0.5


def test_reading_bgr8_copies_nothing_even_with_padded_rows() -> None:
    message = message_of(np.zeros((4, 4, 3), np.uint8), 'bgr8', 5)
    result = images.image_to_bgr(message)
    message.data[0] = 5
    assert result[0, 0, 0] == 5


@pytest.mark.parametrize('padding', [0, 64])
@pytest.mark.parametrize('encoding', list(images.ENCODINGS))
def test_reading_allocates_the_result_and_nothing_else(encoding: str, padding: int) -> None:
    layout = images.ENCODINGS[encoding]
    rows = 360 if layout.chroma_rows else 240
    dtype = np.uint16 if layout.sample_bytes == 2 else np.uint8
    message = message_of(np.zeros((rows, 320, layout.channels), dtype), encoding, padding)
    message.height = 240
    tracemalloc.start()
    result = images.image_to_bgr(message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    in_16_bit = 2 * result.nbytes if layout.sample_bytes == 2 and layout.to_bgr is not None else 0
    expected = 0 if encoding == 'bgr8' else result.nbytes + in_16_bit
    assert peak < expected + 20_000


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 2**31))
def test_an_image_message_reads_back_as_the_image(size: tuple[int, int], seed: int) -> None:
    image_bgr = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    header = Header(frame_id='cam')
    for view in (image_bgr, image_bgr[:, ::-1]):
        message = images.bgr_to_image(view, header)
        assert (message.header.frame_id, message.step) == ('cam', 3 * size[1])
        np.testing.assert_array_equal(images.image_to_bgr(message), view)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'encoding': '16UC1'}, "'16UC1' is not supported"),
        ({'encoding': ''}, "''"),
        ({'encoding': 'bgr8\n'}, ', '.join(images.ENCODINGS)),
        ({'encoding': 'x' * 10_000}, 'x' * 40 + "'"),
        ({'height': 0}, 'height 0'),
        ({'width': 0}, 'width 0'),
        ({'step': 11}, '12 bytes a row'),
        ({'height': 5}, '60 bytes, 51 were received'),
        ({'data': array('B')}, '0 were received'),
        ({'height': 2**32 - 1}, 'truncated'),
        ({'width': 2**32 - 1}, 'too small'),
        ({'width': 2**32 - 1, 'height': 2**32 - 1, 'step': 2**32 - 1}, 'too small'),
        ({'encoding': 'mono8', 'width': 2**32 - 1, 'step': 2**32 - 1}, 'truncated'),
        ({'encoding': 'yuyv', 'width': 3}, 'width 3 is odd'),
        ({'encoding': 'nv12', 'width': 3}, 'width 3 is odd'),
        ({'encoding': 'nv21', 'height': 3}, 'height 3 is odd'),
        ({'encoding': 'nv12'}, '6 rows of 12 bytes need 72 bytes'),
        ({'encoding': 'bayer_rggb8', 'width': 2}, '3x3'),
        ({'encoding': 'bayer_grbg16', 'height': 1}, '3x3'),
        ({'encoding': 'bgr16'}, '24 bytes a row'),
    ],
)
def test_a_wrong_image_is_refused_in_one_sentence(change: dict[str, object], words: str) -> None:
    message = message_of(np.zeros((4, 4, 3), np.uint8), 'bgr8')
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError) as refusal:
        images.image_to_bgr(message)
    assert words in str(refusal.value)
    assert '\n' not in str(refusal.value) and len(str(refusal.value)) < 500


def compressed(data: bytes, format_text: str = '') -> CompressedImage:
    return CompressedImage(format=format_text, data=array('B', data))


def soft_picture() -> np.ndarray:
    """Return a picture JPEG keeps nearly unchanged: blue grows to the right, red downwards."""
    picture = np.full((40, 56, 3), 30, np.uint8)
    picture[..., 0] += np.arange(56, dtype=np.uint8) * 3
    picture[..., 2] += np.arange(40, dtype=np.uint8)[:, None] * 3
    return picture


def file_of(picture: np.ndarray, extension: str) -> bytes:
    return bytes(cv2.imencode(extension, picture)[1])


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack('>BBH', 0xFF, marker, len(content) + 2) + content


def png_declaring(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', checksum)

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    parts = (b'IHDR', header), (b'IDAT', zlib.compress(bytes(1000))), (b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts)


def jpeg_declaring(width: int, height: int) -> bytes:
    data = bytearray(file_of(soft_picture(), '.jpg'))
    at = data.index(b'\xff\xc0')
    data[at + 5 : at + 9] = struct.pack('>HH', height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ('extension', 'format_text', 'tolerance'),
    [
        ('.jpg', 'jpeg', 12),
        ('.jpg', 'rgb8; jpeg compressed bgr8', 12),
        ('.jpg', 'bgr8; jpeg compressed bgr8', 12),
        ('.png', 'png', 0),
        ('.png', 'rgb8; png compressed bgr8', 0),
        ('.png', '', 0),
    ],
)
def test_a_compressed_picture_gives_bgr(extension: str, format_text: str, tolerance: int) -> None:
    picture = soft_picture()
    result = images.compressed_to_bgr(compressed(file_of(picture, extension), format_text))
    assert result.shape == picture.shape and result.dtype == np.uint8
    assert np.abs(result.astype(int) - picture).max() <= tolerance


def test_compressed_pictures_with_grey_alpha_or_16_bits_give_8_bit_bgr() -> None:
    picture = soft_picture()
    grey = images.compressed_to_bgr(compressed(file_of(picture[..., 0], '.png')))
    np.testing.assert_array_equal(grey, np.repeat(picture[..., :1], 3, 2))
    alpha = np.concatenate([picture, np.full((40, 56, 1), 9, np.uint8)], 2)
    np.testing.assert_array_equal(
        images.compressed_to_bgr(compressed(file_of(alpha, '.png'))), picture
    )
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    wide = images.compressed_to_bgr(compressed(file_of(values, '.png'), 'mono16; png compressed '))
    np.testing.assert_array_equal(wide[..., 2], (values.astype(np.int64) + 128) // 257)


def exif_orientation(value: int) -> bytes:
    entry = struct.pack('<HHIHH', 0x0112, 3, 1, value, 0)
    return b'Exif\0\0' + b'II*\0' + struct.pack('<IH', 8, 1) + entry + bytes(4)


def test_an_exif_orientation_turns_nothing() -> None:
    plain = file_of(soft_picture(), '.jpg')
    turned = plain[:2] + jpeg_segment(0xE1, exif_orientation(6)) + plain[2:]
    by_default = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert by_default is not None and by_default.shape == (56, 40, 3)
    np.testing.assert_array_equal(
        images.compressed_to_bgr(compressed(turned)), images.compressed_to_bgr(compressed(plain))
    )


JPEG, PNG = file_of(soft_picture(), '.jpg'), file_of(soft_picture(), '.png')
THUMBNAIL = jpeg_segment(0xE1, b'thumbnail' + file_of(soft_picture()[:8, :8], '.jpg'))
HUFFMAN_TABLE = JPEG[JPEG.index(b'\xff\xc4') :][: 2 + 0x1F]


@pytest.mark.parametrize(
    'inserted', [THUMBNAIL, HUFFMAN_TABLE, b'\xff\xff\xff', b'\xff\x01', b'\xff\xd0']
)
def test_what_a_jpeg_may_have_before_its_size_changes_nothing(inserted: bytes) -> None:
    data = JPEG[:2] + inserted + JPEG[2:] + bytes(50)
    np.testing.assert_array_equal(
        images.compressed_to_bgr(compressed(data)), images.compressed_to_bgr(compressed(JPEG))
    )


@pytest.mark.parametrize('end', [-2, -1, -20])
@pytest.mark.parametrize('inserted', [b'', THUMBNAIL])
def test_a_truncated_jpeg_never_reaches_the_decoder(
    monkeypatch: pytest.MonkeyPatch, inserted: bytes, end: int
) -> None:
    # Some versions of OpenCV would fill it up with grey.
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(ValueError, match='truncated'):
        images.compressed_to_bgr(compressed(JPEG[:2] + inserted + JPEG[2:end]))


@pytest.mark.parametrize(
    ('data', 'format_text', 'words'),
    [
        (b'', 'jpeg', 'empty'),
        (PNG, '16UC1; compressedDepth png', 'depth image'),
        (PNG, '16UC1; png compressed ', 'depth image'),
        (b'hello world', 'h264\n', "'h264\\n' is neither JPEG nor PNG"),
        (file_of(soft_picture(), '.bmp'), 'bmp', 'starts with 42 4d'),
        (JPEG[:300], 'jpeg', 'truncated'),
        (JPEG[:3], 'jpeg', 'truncated'),
        (b'\xff\xd8\xff\xd9', 'jpeg', 'truncated'),
        (PNG[:-30], 'png', 'truncated'),
        (PNG[:20], 'png', 'truncated'),
        (PNG[:8], 'png', 'truncated'),
        (png_declaring(0, 5), 'png', 'damaged'),
        (jpeg_declaring(0, 5), 'jpeg', 'damaged'),
        (png_declaring(30000, 30000), 'png', 'declares 30000x30000'),
        (png_declaring(2**32 - 1, 2**32 - 1), 'png', 'declares 4294967295x4294967295'),
        (png_declaring(2**26 + 1, 1), 'png', 'declares 67108865x1'),
        (jpeg_declaring(65535, 65535), 'jpeg', 'declares 65535x65535'),
        (JPEG[:2] + THUMBNAIL + jpeg_declaring(65535, 65535)[2:], '', 'declares 65535x65535'),
        (JPEG[:2] + HUFFMAN_TABLE + jpeg_declaring(65535, 65535)[2:], '', 'declares 65535x65535'),
    ],
)
def test_a_wrong_compressed_image_is_refused_in_one_sentence(
    data: bytes, format_text: str, words: str
) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError) as refusal:
        images.compressed_to_bgr(compressed(data, format_text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in str(refusal.value)
    assert '\n' not in str(refusal.value)
    assert peak < 1_000_000


def test_an_error_of_the_decoder_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise cv2.error('Insufficient memory\nin function alloc')

    monkeypatch.setattr(cv2, 'imdecode', fail)
    with pytest.raises(ValueError, match=f'damaged or truncated: {len(PNG)} bytes$'):
        images.compressed_to_bgr(compressed(PNG))

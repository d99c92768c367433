"""cv_bridge: asked only for what it alone knows, and only where it gives right pixels."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
import sys

import numpy as np
import pytest
from sensor_msgs.msg import Image

from anydepth_ros import bridge, images

# Three encodings that its check asks for, one that only it knows, one that it answers wrongly.
SOUND = """
import numpy as np


class CvBridgeError(TypeError):
    pass


class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        assert desired_encoding == 'bgr8'
        data = np.frombuffer(message.data, np.uint8)
        if message.encoding in ('rgb8', 'rgba8'):
            rows = data.reshape(message.height, -1)
            channels = len(message.encoding) - 1
            pixels = rows[:, : message.width * channels].reshape(message.height, -1, channels)
            return pixels[..., 2::-1]
        if message.encoding == 'strange':
            return data[:4].reshape(2, 2)
        if message.encoding not in ('mono16', 'nv24'):
            raise CvBridgeError('unknown\\n  encoding')
        if message.encoding == 'mono16':
            grey = (data.view(np.uint16).astype(int) + 128) // 257
        else:
            grey = data[: message.height * message.width]
        grey = grey.astype(np.uint8).reshape(message.height, message.width, 1)
        return np.repeat(grey, 3, 2)
"""


def forget_cv_bridge() -> None:
    sys.modules.pop('cv_bridge', None)
    bridge.why_unusable.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Return a function that makes a text the module ``cv_bridge``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_cv_bridge()

    def write(source: str) -> Path:
        path = tmp_path / 'cv_bridge.py'
        path.write_text(source)
        return path

    yield write
    forget_cv_bridge()


def nv24(encoding: str = 'nv24') -> Image:
    return Image(height=2, width=2, encoding=encoding, step=2, data=array('B', range(1, 13)))


def refusal(message: Image) -> str:
    with pytest.raises(ValueError) as caught:
        images.image_to_bgr(message)
    text = str(caught.value)
    assert '\n' not in text and ', '.join(images.ENCODINGS) in text
    return text


def test_an_encoding_that_only_cv_bridge_knows_is_read_by_it(
    install: Callable[[str], Path],
) -> None:
    install(SOUND)
    expected = np.repeat(np.array([[1, 2], [3, 4]])[..., None], 3, 2)
    np.testing.assert_array_equal(images.image_to_bgr(nv24()), expected)
    assert 'cv_bridge refused it: unknown encoding' in refusal(nv24('16UC1'))
    assert 'no 8-bit BGR image' in refusal(nv24('strange'))
    empty = nv24()
    empty.data = array('B')
    assert 'cv_bridge refused it: ' in refusal(empty)


def test_cv_bridge_is_checked_once_and_imported_here_only_when_it_is_sound(
    install: Callable[[str], Path], tmp_path: Path
) -> None:
    note = f"with open({str(tmp_path / 'imports')!r}, 'a') as file:\n    file.write('x')\n"
    install(f'{note}{SOUND}'.replace('// 257', '// 256'))
    for _ in range(3):
        assert 'fails its check under NumPy' in refusal(nv24())
    assert (tmp_path / 'imports').read_text() == 'x' and 'cv_bridge' not in sys.modules


@pytest.mark.parametrize(
    'source',
    [
        "raise ImportError('numpy.core.multiarray failed to import')",
        "raise AttributeError('_ARRAY_API not found')",
        'import os; os.abort()',
        'CvBridge = None',
    ],
)
def test_a_cv_bridge_that_breaks_ends_in_a_refusal(
    install: Callable[[str], Path], capfd: pytest.CaptureFixture[str], source: str
) -> None:
    install(source)
    assert 'fails its check under NumPy' in refusal(nv24())
    assert capfd.readouterr() == ('', '')


def test_a_cv_bridge_that_hangs_ends_in_a_refusal(
    install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, 'PROBE_TIMEOUT_S', 0.3)
    install('import threading; threading.Event().wait()')
    assert 'its check did not end: TimeoutExpired' in refusal(nv24())


def test_a_check_that_cannot_start_ends_in_a_refusal(
    install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'executable', '/nowhere/python')
    install(SOUND)
    assert 'its check did not end: FileNotFoundError' in refusal(nv24())


def test_cv_bridge_is_not_asked_for_what_is_read_here(install: Callable[[str], Path]) -> None:
    install("raise SystemExit('it was imported')")
    message = Image(height=1, width=1, encoding='rgb8', step=3, data=array('B', [1, 2, 3]))
    assert images.image_to_bgr(message).tolist() == [[[3, 2, 1]]]
    assert bridge.why_unusable.cache_info().currsize == 0


def test_without_cv_bridge_the_refusal_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge.importlib.util, 'find_spec', lambda name: None)
    forget_cv_bridge()
    assert "'nv24' is not supported (cv_bridge is not installed)" in refusal(nv24())
    forget_cv_bridge()


def test_the_pixels_cv_bridge_is_checked_with_are_our_own() -> None:
    for encoding, (data, pixels) in bridge._KNOWN.items():
        message = Image(
            height=1, width=2, encoding=encoding, step=len(data), data=array('B', data)
        )
        assert images.image_to_bgr(message).tolist() == [pixels]


def random_image(encoding: str) -> Image:
    """Return 8x6 random pixels, rows padded by two pixels: cv_bridge handles no other padding."""
    layout = images.ENCODINGS[encoding]
    rows = 9 if layout.chroma_rows else 6
    step = 10 * layout.channels * layout.sample_bytes
    data = np.random.default_rng(0).integers(0, 256, rows * step, np.uint8).tobytes()
    return Image(height=6, width=8, encoding=encoding, step=step, data=array('B', data))


def test_pixels_equal_those_of_the_installed_cv_bridge() -> None:
    if reason := bridge.why_unusable():
        pytest.skip(reason)
    compared = set()
    for encoding in images.ENCODINGS:
        message = random_image(encoding)
        try:
            expected = bridge.to_bgr(message)
        except ValueError:  # one that this version does not know
            continue
        # Two builds of OpenCV round the products of YUV differently.
        tolerance = 1 if encoding.startswith(('yu', 'uy', 'nv')) else 0
        np.testing.assert_allclose(
            images.image_to_bgr(message), expected, rtol=0, atol=tolerance, err_msg=encoding
        )
        compared.add(encoding)
    assert compared >= {'bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8', 'mono16', 'bayer_rggb8'}

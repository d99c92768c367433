"""Another detector's ONNX beside ours: opened, its inputs filled from their shapes, timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import re
import time
from typing import Any

import numpy as np

from anydepth_core.data.preprocess import preprocess
from anydepth_core.errors import sentence
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.onnx_runtime import session_options
from anydepth_core.runtime.providers import open_session
from anydepth_core.structures import Timing

_TYPES: dict[str, Any] = {
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
    'tensor(double)': np.float64,
    'tensor(uint8)': np.uint8,
    'tensor(int32)': np.int32,
    'tensor(int64)': np.int64,
    'tensor(bool)': np.bool_,
}
_THRESHOLD = 0.5


@dataclass(frozen=True)
class PeerFile:
    """What ``--compare`` names.

    Attributes:
        name: for table and picture.
        path: the ONNX file.
        ap: its AP, 0..1, None if it is not given.
    """

    name: str
    path: Path
    ap: float | None = None


def parse_peers(texts: Sequence[str]) -> list[PeerFile]:
    """Read the values of ``--compare``.

    Raises:
        ValueError: if one is not legal, or two have the same name.
    """
    files = [parse_peer(text) for text in texts]
    names = [file.name for file in files]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'--compare: two are called {name}, give names: --compare NAME=FILE')
    return files


def parse_peer(text: str) -> PeerFile:
    """Read ``[NAME=]FILE[:AP]``; the name is that of the file unless it is given.

    Raises:
        ValueError: if there is no such file or the AP is not from 0 to 1.
    """
    name, path, ap = '', text, None
    if not Path(path).is_file() and (found := re.fullmatch(r'(.+):([^:/\\]+)', path)):
        path, ap = found[1], _ap(text, found[2])
    if not Path(path).is_file() and '=' in path:
        name, _, path = path.partition('=')
    if not Path(path).is_file():
        raise ValueError(f'--compare {text}: there is no file {path}, give [NAME=]FILE[:AP]')
    return PeerFile(name.strip() or Path(path).stem, Path(path), ap)


def _ap(text: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(
            f'--compare {text}: {word} is no AP, give a number from 0 to 1 such as 0.339'
        )
    return value


class Peer:
    """An open session with something to run on; each call runs it once."""

    def __init__(
        self,
        file: PeerFile,
        settings: RuntimeSettings,
        image_bgr: np.ndarray,
        size: tuple[int, int],
    ) -> None:
        """Open the file and run it once.

        Args:
            file: what is opened.
            settings: provider, device, threads and spinning.
            image_bgr: (H, W, 3) uint8, stretched to the input.
            size: (height, width) where the model leaves them open.

        Raises:
            RuntimeError: if ONNX Runtime cannot open or run it.
            ValueError: if an input cannot be filled.
        """
        self.file = file
        try:
            self._session = open_session(str(file.path), session_options(settings), settings)
        except RuntimeError as error:
            raise RuntimeError(
                f'--compare {file.path}: ONNX Runtime cannot open it '
                f'({sentence(error.__cause__ or error)}): give a whole ONNX file, or update '
                'onnxruntime if the file is newer'
            ) from None
        try:
            self._feeds = fill(self._session.get_inputs(), image_bgr, size)
        except ValueError as error:
            raise ValueError(f'--compare {file.path}: {error}') from None
        try:
            self()
        except Exception as error:  # ONNX Runtime has its own types
            raise RuntimeError(
                f'--compare {file.path}: ONNX Runtime cannot run it with '
                f'{_described(self.inputs)} ({sentence(error)}): give another --compare-size '
                'where the file leaves the size open, else export it for one image'
            ) from None

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of what each input is given."""
        return {name: value.shape for name, value in self._feeds.items()}

    def __call__(self) -> Timing:
        """Run it once; only the inference takes time."""
        start = time.perf_counter()
        self._session.run(None, self._feeds)
        return Timing(0.0, 1e3 * (time.perf_counter() - start), 0.0)


def fill(
    inputs: Sequence[Any], image_bgr: np.ndarray, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Make something for every input of a model.

    The input with four dimensions gets the image. Others are told apart by type and shape: one
    with two values at the end gets width and height of the network input (1 where its name says
    it is a scale), numbers with a fraction are taken for thresholds and get 0.5, whole numbers 1,
    truth values True; open dimensions are 1.

    Args:
        inputs: as a session lists them: ``name``, ``shape`` and ``type``.
        image_bgr: (H, W, 3) uint8.
        size: (height, width) where the model leaves them open.

    Raises:
        ValueError: if there is no input for one RGB image, or an input has another type.
    """
    for one in inputs:
        if one.type not in _TYPES:
            raise ValueError(
                f'input {one.name} is a {one.type}, which cannot be filled: '
                'export it with inputs that are tensors of numbers'
            )
    of_image = next((one for one in inputs if len(one.shape) == 4), None)
    if of_image is None:
        listed = ', '.join(f'{one.name} {one.shape}' for one in inputs)
        raise ValueError(
            f'none of its inputs ({listed}) takes an image (1, 3, H, W): give a detector'
        )
    images, (height, width) = _images(of_image, image_bgr, size)
    return {
        one.name: images if one is of_image else _extra(one, (width, height)) for one in inputs
    }


def _images(
    one: Any, image_bgr: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the image as an input wants it, and its (height, width)."""
    batch, *sides = (_fixed(side) for side in one.shape)
    if batch not in (None, 1):
        raise ValueError(f'input {one.name} takes {batch} images at once: export it for one')
    channels_last = sides[0] != 3 and sides[2] == 3
    channels, height, width = (sides[2], *sides[:2]) if channels_last else sides
    if channels not in (None, 3):
        raise ValueError(
            f'input {one.name} takes {channels} channels, but images have 3: '
            'give a detector for RGB images'
        )
    taken = (height or size[0], width or size[1])
    images, _ = preprocess(image_bgr, taken, 'stretch')
    kind = np.dtype(_TYPES[one.type])
    if kind.kind != 'f':
        images = np.rint(255 * images)
    if channels_last:
        images = images.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images, kind), taken


def _extra(one: Any, width_height: tuple[int, int]) -> np.ndarray:
    shape = tuple(_fixed(side) or 1 for side in one.shape)
    kind = np.dtype(_TYPES[one.type])
    if shape[-1:] == (2,) and kind.kind in 'fiu':
        values: Any = 1 if 'scale' in one.name.lower() else width_height
    else:
        values = {'f': _THRESHOLD, 'b': True}.get(kind.kind, 1)
    return np.broadcast_to(np.array(values, kind), shape).copy()


def _fixed(side: Any) -> int | None:
    """Return a dimension, None where the model leaves it open."""
    return side if isinstance(side, int) and side > 0 else None


def _described(shapes: dict[str, tuple[int, ...]]) -> str:
    return ', '.join(
        f'{name} {"x".join(map(str, shape)) or "scalar"}' for name, shape in shapes.items()
    )

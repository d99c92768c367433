"""Norm statistics of single operating points, which a bundle keeps beside its master ONNX.

The master holds the statistics of the training: of full and of base depth, at the sizes that were
trained. A depth between them, or another input size, shows its norms other values. Means and
variances that were estimated at an operating point itself (``anydepth calibrate``) take their
place when its graph is made; nothing else changes, and other points do not notice.
"""

from __future__ import annotations

from collections.abc import Mapping
import io
from pathlib import Path

import numpy as np

from anydepth_core.depth import DepthConfig, DepthSpace
from anydepth_core.errors import sentence
from anydepth_core.export.manifest import check_size

Norms = Mapping[str, np.ndarray]
"""Means and variances, float32, by the name of the master's initialiser."""

PointNorms = Mapping[tuple[DepthConfig, tuple[int, int]], Norms]
"""By depth and (height, width) of the network input."""

FILE = 'norms.npz'


def norms_file(space: DepthSpace, norms: PointNorms) -> bytes:
    """Return the content of the file that holds the norms of operating points."""
    arrays = {
        f'{space.format(depth)}@{height}x{width}/{name}': values
        for (depth, (height, width)), own in norms.items()
        for name, values in own.items()
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def parse_norms(
    path: Path, content: bytes, space: DepthSpace, shapes: Mapping[str, tuple[int, ...]]
) -> PointNorms:
    """Read what :func:`norms_file` returned.

    Args:
        path: where it comes from, for messages.
        content: the file.
        space: the depths of the detector.
        shapes: of the master's initialisers.

    Raises:
        ValueError: if it is no such file, or a value is not legal or not of this master.
    """
    norms: dict[tuple[DepthConfig, tuple[int, int]], dict[str, np.ndarray]] = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            for key in file.files:
                point, _, name = key.partition('/')
                norms.setdefault(_point(point, space), {})[name] = _checked(
                    name, file[key], shapes
                )
    except Exception as error:  # numpy and zipfile raise almost anything
        raise ValueError(
            f'{path} holds no norms of this bundle ({sentence(error):.500}): '
            'export the bundle again'
        ) from None
    return norms


def _point(text: str, space: DepthSpace) -> tuple[DepthConfig, tuple[int, int]]:
    depth, _, size = text.partition('@')
    return space.parse(depth), check_size([int(side) for side in size.split('x')])


def _checked(name: str, values: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    known = name.endswith(('running_mean', 'running_var')) and shapes.get(name) == values.shape
    if not known or values.dtype != np.float32:
        raise ValueError(f'{name!r} is no norm of the master, or not of its shape')
    if not np.isfinite(values).all() or (name.endswith('running_var') and (values < 0).any()):
        raise ValueError(f'{name!r} has values that are no statistics')
    return values

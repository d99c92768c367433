"""Compare a master ONNX, run by ONNX Runtime, with the torch detector it was written from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch

from anydepth_core.depth import DepthConfig
from anydepth_core.export.master import DEPTH_MASK, IMAGES
from anydepth_core.export.onnx_export import load_master_weights
from anydepth_core.export.specialise import specialise
from anydepth_core.models.detector import Detector

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """How far one output of one graph is from torch.

    Attributes:
        graph: ``master`` or ``specialised``.
        depth: canonical text of the depth.
        image_size: (height, width) of the input.
        output: name of the output.
        error: max |ONNX - torch| / max |torch|.
    """

    graph: str
    depth: str
    image_size: tuple[int, int]
    output: str
    error: float

    @property
    def acceptable(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= TOLERANCE


def verify(
    detector: Detector,
    master: onnx.ModelProto,
    depths: Sequence[DepthConfig | str],
    sizes: Sequence[tuple[int, int]] = ((320, 320), (256, 384)),
    seed: int = 0,
) -> list[Difference]:
    """Run master, specialised graphs and torch on the same random images.

    Torch computes in float32 with the weights of the master, that is after their rounding to half
    precision.

    Args:
        detector: a detector like the one the master was written from; it is not changed.
        master: the master ONNX.
        depths: the depths to compare.
        sizes: (height, width) of the images; the specialised graphs are made for each.
        seed: seed of the images.

    Returns:
        one entry per graph, depth, size and output.

    Raises:
        ValueError: if the master does not fit the detector, or a depth or a size is not legal.
        ImportError: if onnxruntime is not installed.
    """
    reference = deepcopy(detector).eval().float().cpu()
    load_master_weights(reference, master)
    generator = np.random.default_rng(seed)
    images = [generator.random((1, 3, *size), dtype=np.float32) for size in sizes]
    configs = [reference.depth_space.parse(depth) for depth in depths]
    expected = {
        (depth, index): _torch_outputs(reference, batch, depth)
        for depth in configs
        for index, batch in enumerate(images)
    }
    names = [output.name for output in master.graph.output]
    differences = []
    for graph, depth, index, arrays in _onnx_outputs(master, configs, images):
        text, size = reference.depth_space.format(depth), sizes[index]
        for name, array in zip(names, arrays, strict=True):
            error = _relative_error(array, expected[depth, index][name])
            differences.append(Difference(graph, text, size, name, error))
    return differences


def check(differences: Sequence[Difference]) -> None:
    """Refuse a master that is not the detector.

    Raises:
        RuntimeError: if any error is above the tolerance; the message shows the worst.
    """
    bad = [difference for difference in differences if not difference.acceptable]
    if bad:
        worst = max(bad, key=lambda difference: np.nan_to_num(difference.error, nan=np.inf))
        height, width = worst.image_size
        raise RuntimeError(
            f'{len(bad)} of {len(differences)} ONNX outputs differ from torch by more than '
            f'{TOLERANCE:.0e}; worst: {worst.output} of the {worst.graph} graph at {worst.depth}, '
            f'{height}x{width}: {worst.error:.1e}'
        )


def format_table(differences: Sequence[Difference]) -> str:
    """Return a text table: one line per graph, depth and size, one column per output."""
    outputs = list(dict.fromkeys(difference.output for difference in differences))
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for difference in differences:
        height, width = difference.image_size
        key = (difference.depth, f'{height}x{width}', difference.graph)
        rows.setdefault(key, {})[difference.output] = difference.error
    header = f'{"depth":<14}{"size":<11}{"graph":<13}' + ''.join(f'{name:>10}' for name in outputs)
    lines = [
        f'{depth:<14}{size:<11}{graph:<13}' + ''.join(f'{errors[name]:>10.1e}' for name in outputs)
        for (depth, size, graph), errors in rows.items()
    ]
    return '\n'.join((header, *lines))


def _onnx_outputs(
    master: onnx.ModelProto, depths: Sequence[DepthConfig], images: Sequence[np.ndarray]
) -> Iterator[tuple[str, DepthConfig, int, list[np.ndarray]]]:
    session = _session(master)
    for depth in depths:
        for index, batch in enumerate(images):
            mask = np.array(depth.stages, bool)
            yield 'master', depth, index, session.run(None, {IMAGES: batch, DEPTH_MASK: mask})
            height, width = batch.shape[2:]
            static = _session(specialise(master, depth.stages, (height, width)))
            yield 'specialised', depth, index, static.run(None, {IMAGES: batch})


def _session(model: onnx.ModelProto) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ImportError(
            'verifying an export needs ONNX Runtime: pip install onnxruntime'
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )


def _torch_outputs(
    detector: Detector, images: np.ndarray, depth: DepthConfig
) -> dict[str, np.ndarray]:
    with torch.no_grad():
        outputs = detector(torch.from_numpy(images), depth).outputs
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    if actual.shape != expected.shape:
        return float('inf')
    return float(np.abs(actual - expected).max() / np.abs(expected).max())

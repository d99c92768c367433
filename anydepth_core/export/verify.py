"""Compare a master ONNX, run by ONNX Runtime, with the torch detector it was written from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from anydepth_core.depth import DepthConfig
from anydepth_core.export.master import depth_inputs, IMAGES
from anydepth_core.export.onnx_export import load_master_weights, with_norms
from anydepth_core.export.point_norms import Norms, PointNorms
from anydepth_core.export.reference import Outputs, Reference
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
        tolerance: the largest error that is acceptable.
    """

    graph: str
    depth: str
    image_size: tuple[int, int]
    output: str
    error: float
    tolerance: float

    @property
    def acceptable(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= self.tolerance


def verify(
    detector: Detector,
    master: onnx.ModelProto,
    depths: Sequence[DepthConfig | str],
    sizes: Sequence[tuple[int, int]] = ((320, 320), (256, 384)),
    seed: int = 0,
) -> list[Difference]:
    """Compare as :func:`verify_cases` does, every depth at every size."""
    cases = [(depth, size) for depth in depths for size in sizes]
    return verify_cases(detector, master, cases, seed)


def verify_cases(
    detector: Detector,
    master: onnx.ModelProto,
    cases: Iterable[tuple[DepthConfig | str, tuple[int, int]]],
    seed: int = 0,
    norms: PointNorms | None = None,
) -> list[Difference]:
    """Run master, specialised graphs and torch on the same random images.

    Torch computes with the weights of the master, that is after their rounding to half precision.
    What is compared with what, and how much rounding explains, is said in :class:`Reference`.

    Args:
        detector: a detector like the one the master was written from; it is not changed.
        master: the master ONNX.
        cases: depths, each with the (height, width) of the image.
        seed: seed of the images.
        norms: statistics of norms of single operating points. The master has none of them: of
            these points only the specialised graph is compared.

    Returns:
        one entry per graph, depth, size and output.

    Raises:
        ValueError: if the master does not fit the detector, or a depth or a size is not legal.
        RuntimeError: if the detector amplifies rounding too much.
        ImportError: if onnxruntime is not installed.
    """
    copy = deepcopy(detector).eval().float().cpu()
    load_master_weights(copy, master)
    reference = Reference(copy, TOLERANCE)
    space, session = copy.depth_space, _session(master)
    differences = []
    for given, size in cases:
        depth = space.parse(given)
        own = (norms or {}).get((depth, size))
        chosen = reference if own is None else Reference(with_norms(copy, own), TOLERANCE)
        case = chosen.case(depth, size, seed)
        for graph, actual in _onnx_outputs(master, session, depth, case.images, own):
            for name, error in chosen.errors(actual, case.outputs).items():
                differences.append(
                    Difference(graph, space.format(depth), size, name, error, case.tolerance)
                )
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
            f'{len(bad)} of {len(differences)} ONNX outputs differ from torch; '
            f'worst: {worst.output} of the {worst.graph} graph at {worst.depth}, '
            f'{height}x{width}: {worst.error:.1e}, accepted: {worst.tolerance:.1e}; '
            'do not use this export, try other versions of torch and onnxruntime'
        )


def format_table(differences: Sequence[Difference]) -> str:
    """Return a text table: one line per graph, depth and size, one column per output."""
    outputs = list(dict.fromkeys(difference.output for difference in differences))
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for difference in differences:
        height, width = difference.image_size
        row = rows.setdefault((difference.depth, f'{height}x{width}', difference.graph), {})
        row.update({difference.output: difference.error, 'accepted': difference.tolerance})
    columns = [*outputs, 'accepted']
    header = f'{"depth":<14}{"size":<11}{"graph":<13}' + ''.join(f'{name:>10}' for name in columns)
    lines = [
        f'{depth:<14}{size:<11}{graph:<13}' + ''.join(f'{row[name]:>10.1e}' for name in columns)
        for (depth, size, graph), row in rows.items()
    ]
    return '\n'.join((header, *lines))


def _onnx_outputs(
    master: onnx.ModelProto,
    session: Any,
    depth: DepthConfig,
    images: np.ndarray,
    norms: Norms | None,
) -> Iterator[tuple[str, Outputs]]:
    height, width = images.shape[2:]
    special = specialise(master, depth.stages, (height, width), depth.decoder_layers, norms=norms)
    onnx.checker.check_model(special, full_check=True)
    names = [output.name for output in master.graph.output]
    if norms is None:
        feeds = {IMAGES: images, **depth_inputs(depth)}
        yield 'master', dict(zip(names, session.run(names, feeds), strict=True))
    outputs = _session(special).run(names, {IMAGES: images})
    yield 'specialised', dict(zip(names, outputs, strict=True))


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

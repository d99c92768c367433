"""What the detector serves from: the pipeline, and which operating points stay ready; no ROS."""

from __future__ import annotations

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from anydepth_core.runtime.pipeline import Pipeline

EXTRA_SESSIONS = 2  # operating points that stay ready beside the ladder, full and base


def open_pipeline(bundle_path: str, threads: int) -> Pipeline:
    """Load and verify a bundle.

    Args:
        bundle_path: directory of the bundle, or ``default``.
        threads: threads of one inference, 0 for one per physical core.

    Raises:
        ValueError: if the bundle is wrong.
        RuntimeError: if a back end is missing.
    """
    bundle = load_bundle(bundle_path)
    sessions = len(kept_points(bundle)) + EXTRA_SESSIONS
    return Pipeline(bundle, OnnxRuntime(bundle, threads=threads, max_sessions=sessions))


def kept_points(bundle: Bundle) -> list[OperatingPoint]:
    """Return what is always ready: the ladder, ``full`` and ``base``."""
    named = [bundle.ladder.parse(name, bundle.image_size) for name in ('full', 'base')]
    return list(dict.fromkeys([*bundle.ladder.points, *named]))


def prepare(pipeline: Pipeline, depth: int | str) -> OperatingPoint:
    """Build what a depth needs and return its operating point.

    What is to stay ready is touched first: the back end forgets the least recently used point.
    """
    point = pipeline.resolve(depth)
    for kept in kept_points(pipeline.bundle):
        pipeline.prepare(kept)
    return pipeline.prepare(point)

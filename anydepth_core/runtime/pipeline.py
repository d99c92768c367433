"""From an image to detections at a depth that is chosen for each frame."""

from __future__ import annotations

from pathlib import Path
import time

import numpy as np

from anydepth_core.data.preprocess import check_image, place, preprocess
from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.export.manifest import check_size
from anydepth_core.models.postprocess import DEFAULT, postprocess, PostprocessSettings
from anydepth_core.runtime.backends import DEFAULTS, open_runtime, RuntimeSettings
from anydepth_core.runtime.runtime import Runtime
from anydepth_core.structures import Detections, Timing


class Pipeline:
    """Preprocess, network and postprocess of one bundle; nothing carries over between frames."""

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        settings: PostprocessSettings = DEFAULT,
    ) -> None:
        """Put the parts together.

        Args:
            bundle: the verified bundle.
            runtime: the back end that serves it.
            settings: what counts as a detection, unless a call says otherwise.
        """
        self.bundle = bundle
        self.runtime = runtime
        self.settings = settings

    def __call__(
        self,
        image_bgr: np.ndarray,
        depth: int | str | DepthConfig | OperatingPoint = 'full',
        settings: PostprocessSettings | None = None,
    ) -> tuple[Detections, Timing]:
        """Detect objects in one image.

        Args:
            image_bgr: (H, W, 3) uint8.
            depth: a ladder level, a depth, or an operating point.
            settings: what counts as a detection in this image.

        Returns:
            The detections in pixels of ``image_bgr`` and the time each step took; where the back
            end preprocesses, that is part of the inference.

        Raises:
            ValueError: if the image or the depth is not legal.
            RuntimeError: if the back end fails.
        """
        point = self.resolve(depth)
        check_image(image_bgr)
        start = preprocessed = time.perf_counter()
        outputs = self.runtime.run_image(image_bgr, point)
        if outputs is None:
            images, geometry = preprocess(image_bgr, point.image_size, self.bundle.resize)
            preprocessed = time.perf_counter()
            outputs = self.runtime.run(images, point)
        else:
            size = (image_bgr.shape[0], image_bgr.shape[1])
            geometry = place(size, point.image_size, self.bundle.resize)
        inferred = time.perf_counter()
        boxes, scores = outputs
        detections = postprocess(
            boxes, scores, geometry, settings or self.settings, self.bundle.suppression
        )
        end = time.perf_counter()
        steps = (preprocessed - start, inferred - preprocessed, end - inferred)
        return detections, Timing(*(1e3 * step for step in steps))

    def resolve(self, depth: int | str | DepthConfig | OperatingPoint) -> OperatingPoint:
        """Turn what a user gives as depth into an operating point.

        A level runs at its own input size, a depth at the bundle's, an operating point is only
        checked.

        Raises:
            ValueError: if it is not legal; the message lists what is.
        """
        if isinstance(depth, OperatingPoint):
            self.bundle.space.parse(depth.depth)
            check_size(list(depth.image_size), 'input size')
            return depth
        return self.bundle.ladder.parse(depth, self.bundle.image_size)

    def prepare(
        self,
        depth: int | str | DepthConfig | OperatingPoint,
        image_size: tuple[int, int] | None = None,
    ) -> OperatingPoint:
        """Build what a depth needs ahead of its first frame and return its operating point.

        Args:
            depth: a ladder level, a depth, or an operating point.
            image_size: (height, width) of the images, where the back end may preprocess them.

        Raises:
            ValueError: if the depth is not legal.
            RuntimeError: if the back end fails.
        """
        point = self.resolve(depth)
        self.runtime.prepare(point, image_size)
        return point

    def close(self) -> None:
        """Release the back end."""
        self.runtime.close()


def load_pipeline(
    bundle: str | Path = 'default',
    runtime: RuntimeSettings = DEFAULTS,
    settings: PostprocessSettings = DEFAULT,
) -> Pipeline:
    """Load a bundle and open it with a back end.

    Args:
        bundle: directory of the bundle, or ``default``.
        runtime: back end, threads and how many operating points are kept ready.
        settings: what counts as a detection.

    Raises:
        ValueError: if the bundle is wrong.
        RuntimeError: if the back end or something it needs is missing.
    """
    loaded = load_bundle(bundle)
    return Pipeline(loaded, open_runtime(loaded, runtime), settings)

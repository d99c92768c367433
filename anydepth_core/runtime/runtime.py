"""What every back end offers; the pipeline, the node and the benchmark know nothing else."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from anydepth_core.depth import OperatingPoint


class Runtime(Protocol):
    """Runs a detector at an operating point that is chosen anew for each frame.

    A back end keeps up to ``capacity`` operating points ready; when one more is built, the point
    that ``run`` and ``prepare`` used least recently goes. Any thread may call any method; a build
    never holds up a point that is ready.
    """

    @property
    def capacity(self) -> int:
        """How many operating points can be ready at the same time, at least 1."""
        ...

    @property
    def accelerator(self) -> str | None:
        """Name of the device the network runs on, None for the CPU or where it is not known."""
        ...

    def device_bytes(self) -> int | None:
        """Return the memory in use on the accelerator, all programs together, if it is known."""
        ...

    def run(self, images: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        """Run the detector on one image.

        Args:
            images: (1, 3, H, W) float32 RGB in [0, 1]; (H, W) is the input size of ``point``.
            point: depth and input size; built first if it is not ready.

        Returns:
            Boxes (4, A) float32 as cx, cy, w, h in network pixels, and scores (C, A) float32 in
            [0, 1].

        Raises:
            ValueError: if the point is not legal or the images do not fit it.
            RuntimeError: if the back end fails or was closed.
        """
        ...

    def run_image(
        self, image_bgr: np.ndarray, point: OperatingPoint
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Preprocess an image and run the detector on it, where the settings ask for both.

        The first image of a size makes the back end build what it needs in the background.

        Args:
            image_bgr: (H, W, 3) uint8.
            point: depth and input size.

        Returns:
            As :meth:`run`; None where this is not asked for, not ready or not possible: then
            preprocess on the CPU.

        Raises:
            RuntimeError: if the back end fails or was closed.
        """
        ...

    def prepare(self, point: OperatingPoint, image_size: tuple[int, int] | None = None) -> None:
        """Build what ``point`` needs ahead of its first frame; raises as ``run``.

        A point that is ready counts as used, and nothing is built.

        Args:
            point: depth and input size.
            image_size: (height, width) of the images that ``run_image`` will be given; what it
                needs is built, too, where the settings ask for it.
        """
        ...

    def ready(self, point: OperatingPoint) -> bool:
        """Whether ``run`` at this point would start at once."""
        ...

    def close(self) -> None:
        """Release everything; ``run`` and ``prepare`` raise RuntimeError afterwards."""
        ...


def check_images(images: np.ndarray, point: OperatingPoint) -> None:
    """Refuse what ``Runtime.run`` does not take at an operating point.

    Raises:
        ValueError: if shape or type do not fit.
    """
    wanted = (1, 3, *point.image_size)
    if images.shape != wanted or images.dtype != np.float32:
        raise ValueError(
            f'images of shape {images.shape} and type {images.dtype} '
            f'do not fit the operating point: give float32 of shape {wanted}'
        )

"""Re-estimate the statistics of batch norms on training images, at the depths that will be run.

Training updates the statistics of a switched norm at full and at base depth only, and those of a
norm that every depth shares (stem, head) at both; they are moving averages over weights that still
changed. Here the weights are fixed: every norm gets the average over all batches and depths that
reach it. Weights and biases stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import copy
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import nn

from anydepth_core.data.augment import AugmentSettings
from anydepth_core.data.loader import build_loader
from anydepth_core.data.pictures import SUFFIXES
from anydepth_core.data.preprocess import preprocess
from anydepth_core.depth import DepthConfig
from anydepth_core.models.detector import Detector
from anydepth_core.structures import Target

T = TypeVar('T')


@torch.no_grad()
def recalibrate(
    detector: Detector,
    images: Iterable[torch.Tensor],
    depths: Sequence[DepthConfig | str],
    base_only: bool = False,
) -> int:
    """Replace the running statistics of a detector's batch norms, in place.

    Every batch is run at every depth. A depth that is listed twice counts twice. Norms that no
    depth reaches, and frozen ones, keep what they have. The statistics are replaced when all
    batches are done: if something fails before, the detector is as it was.

    Args:
        detector: the detector; it is left in the mode it was in.
        images: batches (B, 3, H, W) RGB in [0, 1], on any device. Small ones estimate the
            variance of the deepest maps badly: give at least 16 images a batch.
        depths: depths to run.
        base_only: re-estimate each ``norm_base`` and no other norm; full depth stays as it is.

    Returns:
        How many norms were re-estimated.

    Raises:
        ValueError: if there is no image or no depth, or a depth is not legal.
    """
    chosen = [detector.depth_space.parse(depth) for depth in depths]
    norms = [
        module
        for name, module in detector.named_modules()
        if isinstance(module, nn.BatchNorm2d) and (name.endswith('norm_base') or not base_only)
    ]
    modes = [(module, module.training) for module in detector.modules()]
    before = [(norm.momentum, copy.deepcopy(norm.state_dict())) for norm in norms]
    detector.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the average over all batches
            norm.train()
        _run(detector, images, chosen)
        reached = [int(norm.num_batches_tracked or 0) > 0 for norm in norms]
    except BaseException:
        reached = [False] * len(norms)
        raise
    finally:
        for norm, (momentum, stored), fresh in zip(norms, before, reached):
            norm.momentum = momentum
            if not fresh:
                norm.load_state_dict(stored)
        for module, training in modes:
            module.training = training
    return sum(reached)


def statistics_at(
    detector: Detector, images: Iterable[torch.Tensor], depth: DepthConfig
) -> dict[str, np.ndarray]:
    """Return the means and variances of all norms that run at a depth, by name of the buffer.

    Args:
        detector: the detector; it is not changed.
        images: as :func:`recalibrate` takes them, all of one size.
        depth: the depth.

    Raises:
        ValueError: as :func:`recalibrate`.
    """
    fresh = copy.deepcopy(detector)
    recalibrate(fresh, images, [depth])
    before = dict(detector.named_buffers())
    return {
        name: values.cpu().numpy().copy()
        for name, values in fresh.named_buffers()
        if name.endswith(('running_mean', 'running_var')) and not values.equal(before[name])
    }


def image_files(folder: Path, count: int) -> list[Path]:
    """Return so many image files of a folder, evenly spread in name order; all if it has fewer.

    Raises:
        ValueError: if the folder holds no image.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(f'{folder} holds no images: give a folder of training images')
    return evenly(files, count)


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return so many items at even distances, the first and the last among them; all if fewer."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]


def batches_of(
    files: Sequence[Path],
    image_sizes: Sequence[tuple[int, int]],
    resize: str,
    batch_size: int = 32,
) -> Iterator[torch.Tensor]:
    """Yield images as batches (B, 3, H, W) at alternating sizes, as evaluation prepares them.

    Args:
        files: image files.
        image_sizes: (height, width) of the first batch, the second, and so on in turn.
        resize: how an image becomes a network input, ``Detector.resize``.
        batch_size: images in a batch.

    Raises:
        ValueError: if a file is no readable image.
    """
    for number, start in enumerate(range(0, len(files), batch_size)):
        size = image_sizes[number % len(image_sizes)]
        batch = [preprocess(_read(path), size, resize)[0] for path in files[start:][:batch_size]]
        yield torch.from_numpy(np.concatenate(batch))


def augmented_batches_of(
    files: Sequence[Path],
    image_size: tuple[int, int],
    resize: str,
    augment: AugmentSettings,
    batch_size: int = 32,
) -> Iterator[torch.Tensor]:
    """Yield images as batches (B, 3, H, W) as the plain epochs of a training show them.

    Each image is shown once. Chance is the same each time.

    Args:
        files: image files.
        image_size: (height, width).
        resize: how an image becomes a network input, ``Detector.resize``.
        augment: augmentation of the training.
        batch_size: images in a batch.

    Raises:
        ValueError: if a file is no readable image.
    """
    pictures = _Pictures(files)
    loader = build_loader(
        pictures,  # type: ignore[arg-type]
        image_size,
        batch_size,
        augment.plain(),
        workers=0,
        seed=0,
        shuffle=False,
        resize=resize,
    )
    for batch in loader:
        yield batch.images.float() / 255


class _Pictures:
    """Image files as a data set of which the objects are not known."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> tuple[np.ndarray, Target]:
        """Read an image."""
        nothing = Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        return _read(self.files[index]), nothing


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} is no readable image: replace or remove it')
    return image


def _run(
    detector: Detector, images: Iterable[torch.Tensor], depths: Sequence[DepthConfig]
) -> None:
    runs = 0
    device = next(detector.parameters()).device
    for batch in images:
        batch = batch.to(device)
        for depth in depths:
            detector(batch, depth)
            runs += 1
    if not runs:
        raise ValueError('norms cannot be re-estimated without images and depths: give some')

"""Batches for training: samples drawn, augmented and collated by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import multiprocessing
import signal

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from anydepth_core.data.augment import (
    AugmentSettings,
    flip_horizontally,
    PLACES,
    vary_colour,
)
from anydepth_core.data.coco import CocoDataset
from anydepth_core.data.crop import zoom_and_crop
from anydepth_core.data.mixing import copy_paste, mixup
from anydepth_core.data.mosaic import mosaic
from anydepth_core.data.photometric import photometric_distortion
from anydepth_core.data.preprocess import resize_of
from anydepth_core.structures import Target


@dataclass
class Batch:
    """Images with their ground truth; all boxes in one list, ``image_index`` says whose they are.

    Attributes:
        images: (B, 3, H, W) uint8 RGB.
        image_index: (M,) int64, the image in the batch that a box belongs to, ascending.
        labels: (M,) int64 class indices.
        boxes_xyxy_px: (M, 4) float32, left, top, right, bottom in network pixels.
    """

    images: torch.Tensor
    image_index: torch.Tensor
    labels: torch.Tensor
    boxes_xyxy_px: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    def pin_memory(self) -> Batch:
        """Move to page-locked memory; the data loader calls it where CUDA is used."""
        return Batch(*(tensor.pin_memory() for tensor in self._tensors()))

    def to(self, device: torch.device | str) -> Batch:
        """Move to a device, asynchronously from page-locked memory."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self._tensors()))

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return self.images, self.image_index, self.labels, self.boxes_xyxy_px


class Loader(DataLoader[tuple[np.ndarray, Target]]):
    """Yields :class:`Batch`; order and augmentation follow from the seed and the epoch alone.

    Its length is that of a whole epoch.
    """

    def set_epoch(self, epoch: int, skipped: int = 0) -> None:
        """Choose what the next iteration draws.

        Args:
            epoch: the epoch.
            skipped: how many of its first batches are left out, because a run goes on after them.
        """
        assert isinstance(self.sampler, _EpochSampler) and self.batch_size is not None
        self.sampler.epoch, self.sampler.skipped = epoch, skipped * self.batch_size


def build_loader(
    dataset: CocoDataset,
    image_size: tuple[int, int],
    batch_size: int,
    augment: AugmentSettings | None,
    workers: int,
    seed: int,
    shuffle: bool,
    drop_last: bool | None = None,
    resize: str = 'letterbox',
    shard: tuple[int, int] = (0, 1),
) -> Loader:
    """Build the loader of one data set; call ``set_epoch`` before each epoch.

    The same seed and epoch give the same batches for any number of workers: every sample has a
    random generator derived from (seed, epoch, index). A cache of images lives in the data set,
    so that loaders share it.

    Args:
        dataset: images and ground truth.
        image_size: (height, width) of the network input.
        batch_size: images per batch.
        augment: how to vary the images; None resizes them only.
        workers: worker processes; 0 loads in the calling process.
        seed: start of all chance.
        shuffle: draw the images in random order.
        drop_last: leave out an incomplete last batch; None does so when shuffling, unless it is
            the only one.
        resize: ``letterbox`` or ``stretch``, as the detector wants it.
        shard: (index, count): load the share of one of ``count`` processes. All shares are equally
            long; the batches of all processes together are those of one with the joint batch.

    Raises:
        ValueError: if a number is out of range, there is no such resize, or fewer images than
            processes.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(
            f'batch size {batch_size} must be 1 or more, workers {workers} must be 0 or more'
        )
    sampler = _EpochSampler(len(dataset), seed, shuffle, shard)
    if not len(sampler):
        raise ValueError(f'{len(dataset)} images are too few for {shard[1]} processes')
    if drop_last is None:
        drop_last = shuffle and len(sampler) >= batch_size
    resize_of(resize)
    fork = workers > 0 and 'fork' in multiprocessing.get_all_start_methods()
    return Loader(
        _Samples(dataset, image_size, augment, seed, resize),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_start_worker,
        # forked workers share the cached images
        multiprocessing_context='fork' if fork else None,
    )


def collate(samples: list[tuple[np.ndarray, Target]]) -> Batch:
    """Put (image (3, H, W) uint8 RGB, target) pairs together."""
    counts = torch.tensor([len(target.labels) for _, target in samples], dtype=torch.int64)
    return Batch(
        images=torch.from_numpy(np.stack([image for image, _ in samples])),
        image_index=torch.repeat_interleave(torch.arange(len(samples)), counts),
        labels=torch.from_numpy(np.concatenate([target.labels for _, target in samples])),
        boxes_xyxy_px=torch.from_numpy(
            np.concatenate([target.boxes_xyxy_px for _, target in samples])
        ),
    )


class _EpochSampler(Sampler[tuple[int, int]]):
    """Yield (epoch, index), so that workers learn the epoch from the sample they are asked for.

    Of several processes each takes every ``count``-th image of the common order; the last images
    of the order that do not fill a round are left out. The next iteration begins after the
    ``skipped`` first images of the process; the length is that of a whole epoch.
    """

    def __init__(
        self, count: int, seed: int, shuffle: bool, shard: tuple[int, int] = (0, 1)
    ) -> None:
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.shard = shard
        self.epoch, self.skipped = 0, 0

    def __len__(self) -> int:
        return self.count // self.shard[1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        first, step = self.shard
        mine = order[first::step][self.skipped : len(self)]
        return iter([(self.epoch, int(index)) for index in mine])


class _Samples(Dataset[tuple[np.ndarray, Target]]):
    """Network inputs (3, H, W) uint8 RGB with targets in network pixels, for (epoch, index)."""

    def __init__(
        self,
        dataset: CocoDataset,
        size: tuple[int, int],
        augment: AugmentSettings | None,
        seed: int,
        resize: str,
    ) -> None:
        self.dataset = dataset
        self.size = size
        self.augment = augment
        self.seed = seed
        self.resize = resize

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, Target]:
        epoch, index = key
        if self.augment is None:
            image_rgb, target = self._plain(index)
        else:
            rng = np.random.default_rng((self.seed, epoch, 1 + index))
            image_rgb, target = self._augmented(index, self.augment, rng)
        return np.stack(cv2.split(image_rgb)), target

    def _plain(self, index: int) -> tuple[np.ndarray, Target]:
        image, target = self.dataset.load(index)
        image, geometry = resize_of(self.resize)(image, self.size)
        boxes = geometry.to_network(target.boxes_xyxy_px).astype(np.float32, copy=False)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), Target(boxes, target.labels)

    def _augmented(
        self, index: int, settings: AugmentSettings, rng: np.random.Generator
    ) -> tuple[np.ndarray, Target]:
        # What is switched off draws no chance, so that a recipe goes on drawing what it drew.
        image, target = self._composed(index, settings, rng)
        if settings.mixup and rng.random() < settings.mixup:
            other = self._composed(self._another(rng), settings, rng)
            image, target = mixup((image, target), other, rng)
        if rng.random() < settings.flip:
            image, target = flip_horizontally(image, target)
        return vary_colour(image, settings.hsv, rng), target

    def _composed(
        self, index: int, settings: AugmentSettings, rng: np.random.Generator
    ) -> tuple[np.ndarray, Target]:
        """Put a mosaic or one image, and objects of another, into the network input."""
        if rng.random() < settings.mosaic:
            indices = (index, *rng.integers(len(self.dataset), size=3))
            samples = [self.dataset.load(int(i)) for i in rng.permutation(indices)]
            image, target = mosaic(samples, self.size, settings, rng)
        else:
            image, target = self._single(index, settings, rng)
        if settings.copy_paste:
            source = self._single(self._another(rng), settings, rng)
            image, target = copy_paste((image, target), source, settings.copy_paste, rng)
        return image, target

    def _another(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.dataset)))

    def _single(
        self, index: int, settings: AugmentSettings, rng: np.random.Generator
    ) -> tuple[np.ndarray, Target]:
        image, target = self.dataset.load(index)
        if settings.photometric:
            image = photometric_distortion(image, settings.photometric, rng)
        image, target = zoom_and_crop(image, target, settings, rng)
        return PLACES[self.resize](image, target, self.size, settings, rng)


def _start_worker(_: int) -> None:
    # Ctrl-C reaches all processes; the parent still needs the batches of the step it is in, and
    # ends the workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # one thread per worker: the workers are the parallelism
    cv2.setNumThreads(0)

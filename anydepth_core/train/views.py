"""What the passes of a step see and run: device and input size of the batches, base depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from anydepth_core.data.loader import Batch
from anydepth_core.depth import DepthConfig, DepthSpace


def draw_views(
    batches: Sequence[Batch],
    sizes: tuple[int, ...],
    same_view: bool,
    generator: torch.Generator,
    device: torch.device,
) -> list[tuple[Batch, Batch | None]]:
    """Move the batches of a step to the device and give them an input size drawn from ``sizes``.

    All batches of a step have the same size, as the one large batch that they stand for.

    Args:
        batches: batches as they are loaded.
        sizes: sides of square inputs; none leaves the batches as they are.
        same_view: both passes see the same images.
        generator: what the sizes are drawn from; equal in all processes, so that none waits for
            another that drew larger images.
        device: where the detector is.

    Returns:
        For each batch, what the full pass sees, and what the base pass sees where it is another.
    """

    def side() -> int:
        return sizes[int(torch.randint(len(sizes), (), generator=generator))]

    moved = [batch.to(device) for batch in batches]
    if not sizes:
        return [(batch, None) for batch in moved]
    full = side()
    base = None if same_view else side()
    return [
        (
            resize_batch(batch, (full, full)),
            None if base is None else resize_batch(batch, (base, base)),
        )
        for batch in moved
    ]


def draw_base_depth(space: DepthSpace, share: float, generator: torch.Generator) -> DepthConfig:
    """Choose the depth of the base pass of a step: base, or now and then one between it and full.

    Of the depths in between each is as likely as any other.

    Args:
        space: depths of the detector.
        share: share of the steps that run a depth in between, 0..1; 0 draws nothing.
        generator: chance of the step, equal in all processes.
    """
    if share == 0 or float(torch.rand((), generator=generator)) >= share:
        return space.base
    # as numbers, base has no bit set and full all of them
    mask = int(torch.randint(1, 2 ** len(space.stages) - 1, (), generator=generator))
    flags = tuple(bool(mask >> stage & 1) for stage in range(len(space.stages)))
    return DepthConfig(flags, space.decoder_layers)


def resize_batch(batch: Batch, size: tuple[int, int]) -> Batch:
    """Scale the images of a batch, and their boxes, to another (height, width)."""
    height, width = batch.images.shape[2:]
    if (height, width) == size:
        return batch
    images = F.interpolate(batch.images, size, mode='bilinear', antialias=True)
    scale = torch.tensor([size[1] / width, size[0] / height] * 2, device=images.device)
    return replace(batch, images=images, boxes_xyxy_px=batch.boxes_xyxy_px * scale)

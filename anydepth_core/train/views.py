"""What the passes of a step see of a batch: its device, its input size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F

from anydepth_core.data.loader import Batch


def draw_views(
    batches: Iterable[Batch],
    sizes: tuple[int, ...],
    same_view: bool,
    generator: torch.Generator,
    device: torch.device,
) -> Iterator[tuple[Batch, Batch | None]]:
    """Move batches to the device and give them an input size drawn from ``sizes``.

    Args:
        batches: batches as they are loaded.
        sizes: sides of square inputs; none leaves the batches as they are.
        same_view: both passes see the same images.
        generator: what the sizes are drawn from; equal in all processes, so that none waits for
            another that drew larger images.
        device: where the detector is.

    Yields:
        The batch of the full pass, and that of the base pass where it is another one.
    """

    def drawn(batch: Batch) -> Batch:
        if not sizes:
            return batch
        side = sizes[int(torch.randint(len(sizes), (), generator=generator))]
        return resize_batch(batch, (side, side))

    for batch in batches:
        batch = batch.to(device)
        yield drawn(batch), None if same_view or not sizes else drawn(batch)


def resize_batch(batch: Batch, size: tuple[int, int]) -> Batch:
    """Scale the images of a batch, and their boxes, to another (height, width)."""
    height, width = batch.images.shape[2:]
    if (height, width) == size:
        return batch
    images = F.interpolate(batch.images, size, mode='bilinear', antialias=True)
    scale = torch.tensor([size[1] / width, size[0] / height] * 2, device=images.device)
    return replace(batch, images=images, boxes_xyxy_px=batch.boxes_xyxy_px * scale)

"""A batch of two small images with three targets, and small detectors of each family."""

from __future__ import annotations

import torch

from anydepth_core import build_detector
from anydepth_core.data.loader import Batch
from anydepth_core.models.detector import Detector
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from tests.anydepth_core.support.tiny_rtdetr import TINY

FAMILIES = ('yolov12', 'rtdetr')


def small_detector(family: str, variant: str | None = None) -> Detector:
    """Return a small detector of a family for three classes, in training mode.

    Its boxes are no anchors, as they are in a fresh RT-DETR.
    """
    torch.manual_seed(0)
    if family == 'yolov12':
        return build_detector('anydepth_yolov12n', variant, num_classes=3).train()
    detector = AnyDepthRTDETR('tiny_rtdetr', TINY, variant or 'corrected', num_classes=3)
    for name, parameter in detector.named_parameters():
        if 'bbox_head' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return detector.train()


def small_batch(targets: int = 3, size: tuple[int, int] = (64, 96)) -> Batch:
    """Return two images of the given (height, width); the second one has two targets."""
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(2, 3, *size, generator=generator) * 255).byte()
    index = torch.tensor([0, 1, 1])[:targets]
    boxes = torch.tensor(
        [[7.3, 5.1, 41.2, 57.9], [29.7, 9.2, 90.4, 47.1], [2.2, 4.9, 19.8, 61.7]]
    )[:targets]
    return Batch(pixels, index, torch.tensor([2, 0, 1])[:targets], boxes)


def one_image(batch: Batch, image: int) -> Batch:
    """Return one image of a batch with its targets."""
    mine = batch.image_index == image
    return Batch(
        batch.images[image : image + 1],
        torch.zeros_like(batch.image_index[mine]),
        batch.labels[mine],
        batch.boxes_xyxy_px[mine],
    )


def freeze_statistics(detector: Detector) -> Detector:
    """Let the norms use their stored statistics, so that an image does not depend on others."""
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return detector

"""A small RT-DETR with every part of the large ones."""

from __future__ import annotations

from dataclasses import replace

import torch

from anydepth_core.models.rtdetr.layout import Layout
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR

TINY = Layout(
    (2, 2, 3, 2),
    bottleneck=False,
    frozen=False,
    width=8,
    neck_channels=32,
    neck_hidden=48,
    expansion=0.5,
    channels=32,
    hidden=40,
    heads=4,
    points=2,
    queries=60,
    decoder_layers=4,
    evaluated_layers=3,
)


def tiny_rtdetr(variant: str = 'corrected', num_classes: int = 5, **changes) -> AnyDepthRTDETR:
    """Return a freshly initialised one; ``changes`` are fields of the layout."""
    torch.manual_seed(0)
    return AnyDepthRTDETR('tiny', replace(TINY, **changes), variant, num_classes)


def lively_rtdetr(variant: str = 'corrected', num_classes: int = 5, **changes) -> AnyDepthRTDETR:
    """Return one in evaluation mode whose every weight matters, with statistics of each depth."""
    detector = tiny_rtdetr(variant, num_classes, **changes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if 'norm' in name and name.endswith('weight'):
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif any(word in name for word in ('score_head', 'box_head', 'bbox_head')) or (
                name.endswith('bias') and 'sampling_offsets' not in name
            ):
                parameter.normal_(std=0.3, generator=generator)
            elif 'cross_attn' in name and parameter.dim() == 2:
                parameter.normal_(std=0.2, generator=generator)
        for name, buffer in detector.named_buffers():
            if name.endswith(('weight', 'running_var')):
                buffer.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(('.bias', 'running_mean')):
                buffer.normal_(std=0.2, generator=generator)
        for module in detector.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.5
        detector.train()
        for depth in ('full', 'base'):
            for _ in range(4):
                detector(torch.rand(4, 3, 96, 96, generator=generator), depth)
    return detector.eval()

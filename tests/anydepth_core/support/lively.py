"""Detectors whose every weight matters: random norms, other statistics at each depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anydepth_core import build_detector
from anydepth_core.models.detector import Detector
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from tests.anydepth_core.support.tiny_rtdetr import lively_rtdetr


def lively_detector(
    variant: str = 'orig', num_classes: int = 5, name: str = 'anydepth_yolov12n'
) -> Detector:
    """Return a YOLOv12 with outputs of ordinary size, unlike one with fresh weights."""
    torch.manual_seed(0)
    detector: Detector = build_detector(name, variant, num_classes)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = 0.5
    for name, parameter in detector.named_parameters():
        if name.endswith('gamma'):
            nn.init.constant_(parameter, 0.5)
        elif name.endswith('.bias') and '.cls.' in name:
            nn.init.normal_(parameter, std=0.5)
    detector.train()
    with torch.no_grad():
        for depth in ('full', 'base'):
            for _ in range(4):
                detector(torch.rand(4, 3, 64, 64), depth)
    return detector.eval()


def calm_rtdetr(variant: str = 'corrected', **changes: Any) -> AnyDepthRTDETR:
    """Return a lively RT-DETR whose decoder does not blow up rounding, with 300 queries."""
    detector = lively_rtdetr(variant, **{'queries': 300, **changes})
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if name.endswith('weight') and any(
                word in name for word in ('box_head', 'sampling_offsets', 'attention_weights')
            ):
                parameter.mul_(0.5)
    return detector

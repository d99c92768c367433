"""Any-depth YOLOv12: backbone, neck and head (arXiv 2605.09407)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from anydepth_core.depth import DepthConfig, DepthSpace
from anydepth_core.models.detector import check_images, Detector
from anydepth_core.models.yolov12.backbone import Backbone
from anydepth_core.models.yolov12.head import Head, STRIDES
from anydepth_core.models.yolov12.layout import LAYOUTS
from anydepth_core.models.yolov12.neck import Neck
from anydepth_core.models.yolov12.predictions import DensePredictions

STAGES = (
    'backbone.stage1',
    'backbone.stage2',
    'backbone.stage3',
    'backbone.stage4',
    'neck.up16',
    'neck.up8',
    'neck.down16',
    'neck.down32',
)


class AnyDepthYOLOv12(Detector):
    """Any-depth YOLOv12, in the published any-depth layouts and in the official ones.

    Args:
        name: a key of ``LAYOUTS``, for example ``anydepth_yolov12n`` or ``yolov12n``.
        variant: ``orig`` (C3k2 blocks drop repeats) or ``switch`` (they keep them, the C3k inside
            drop a bottleneck); ``yolov12n``, ``s`` and ``m`` have ``orig`` only.
        num_classes: number of classes.

    Raises:
        ValueError: if name or variant is unknown or there is no class.
    """

    family, resize, suppression = 'yolov12', 'letterbox', 'class_nms'

    def __init__(self, name: str, variant: str = 'orig', num_classes: int = 80) -> None:
        super().__init__()
        if name not in LAYOUTS:
            raise ValueError(f'no YOLOv12 {name!r}; known: {", ".join(LAYOUTS)}')
        if variant not in LAYOUTS[name].variants:
            raise ValueError(
                f'{name} has no variant {variant!r}; variants: {", ".join(LAYOUTS[name].variants)}'
            )
        if num_classes < 1:
            raise ValueError(f'num_classes is {num_classes}; at least 1 is needed')
        layout = replace(LAYOUTS[name], keep_repeats=variant == 'switch')
        self.name, self.variant, self.num_classes = name, variant, num_classes
        self.depth_space = DepthSpace(STAGES, backbone_stages=4)
        self.backbone = Backbone(layout)
        self.neck = Neck(layout)
        self.head = Head(layout.channels(256, 512, 1024), num_classes)

    def forward(  # type: ignore[override]
        self, images: torch.Tensor, depth: DepthConfig | str
    ) -> DensePredictions:
        """Run at one depth; see :class:`Detector`."""
        check_images(images)
        bits = self.depth_space.parse(depth).stages
        c3, c4, c5 = self.backbone(images, bits[:4])
        t16, p8, p16, p32 = self.neck((c3, c4, c5), bits[4:])
        levels = self.head((p8, p16, p32))
        return DensePredictions(
            levels, [c3, c4, c5, t16, p8, p16, p32], STRIDES, self.head.dfl.values
        )

    def switched_modules(self) -> list[tuple[int, nn.Module]]:
        """Return the eight stages; see :class:`Detector`."""
        return list(enumerate((*self.backbone.stages, *self.neck.stages)))

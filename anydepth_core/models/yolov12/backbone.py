"""Backbone: a stem and four stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from anydepth_core.models.yolov12.blocks import A2C2f, BackboneStage, C3k2, run_stages
from anydepth_core.models.yolov12.layout import Layout
from anydepth_core.nn.conv import ConvNorm


class Backbone(nn.Module):
    """Stem (stride 4) and four stages (strides 4, 8, 16, 32); the last two attend over areas."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        c64, c128, c256, c512, c1024 = layout.channels(64, 128, 256, 512, 1024)
        csp = partial(
            C3k2,
            expansion=0.25,
            repeats=layout.repeats(2),
            use_c3k=layout.c3k_everywhere,
            keep_repeats=layout.keep_repeats,
        )
        area = partial(
            A2C2f,
            repeats=layout.repeats(4),
            mlp_ratio=layout.mlp_ratio,
            residual=layout.residual,
        )
        halve = partial(ConvNorm, kernel=3, stride=2, switchable=True)
        self.stem = nn.Sequential(ConvNorm(3, c64, 3, 2), ConvNorm(c64, c128, 3, 2, groups=2))
        self.stages = nn.ModuleList(
            (
                BackboneStage(None, csp(c128, c256)),
                BackboneStage(halve(c256, c256, groups=4), csp(c256, c512)),
                BackboneStage(halve(c512, c512), area(c512, c512, areas=4)),
                BackboneStage(halve(c512, c1024), area(c1024, c1024, areas=1)),
            )
        )

    def forward(self, images: torch.Tensor, bits: Sequence[bool]) -> list[torch.Tensor]:
        """Map (B, 3, H, W) to the maps at strides 8, 16 and 32."""
        return run_stages(self.stages, self.stem(images), bits)[1:]

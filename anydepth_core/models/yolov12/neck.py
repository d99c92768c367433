"""Neck: top-down, then bottom-up fusion of three maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from anydepth_core.models.yolov12.blocks import A2C2f, C3k2, NeckStage
from anydepth_core.models.yolov12.layout import Layout
from anydepth_core.nn.conv import ConvNorm


class Neck(nn.Module):
    """Four stages: strides 16 and 8 going up, 16 and 32 going down again."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        c256, c512, c1024 = layout.channels(256, 512, 1024)

        def fuse(c_in: int, c_out: int) -> A2C2f:
            return A2C2f(
                c_in,
                c_out,
                layout.repeats(2),
                areas=None,
                mlp_ratio=layout.mlp_ratio,
                residual=False,
            )

        last = C3k2(
            c512 + c1024,
            c1024,
            expansion=0.5,
            repeats=layout.repeats(2),
            use_c3k=True,
            keep_repeats=layout.keep_repeats,
        )
        self.stages = nn.ModuleList(
            (
                NeckStage(None, fuse(c1024 + c512, c512)),
                NeckStage(None, fuse(c512 + c512, c256)),
                NeckStage(ConvNorm(c256, c256, 3, 2, switchable=True), fuse(c256 + c512, c512)),
                NeckStage(ConvNorm(c512, c512, 3, 2, switchable=True), last),
            )
        )

    def forward(self, maps: Sequence[torch.Tensor], bits: Sequence[bool]) -> list[torch.Tensor]:
        """Map strides 8, 16, 32 to the outputs of the four stages: strides 16, 8, 16, 32."""
        c3, c4, c5 = maps
        top_down_16, top_down_8, bottom_up_16, bottom_up_32 = self.stages
        t16 = top_down_16(c5, c4, bits[0])
        p8 = top_down_8(t16, c3, bits[1])
        p16 = bottom_up_16(p8, t16, bits[2])
        return [t16, p8, p16, bottom_up_32(p16, c5, bits[3])]

"""Any-depth RT-DETR: backbone, neck and decoder (arXiv 2304.08069; arXiv 2605.09407)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from anydepth_core.depth import DepthConfig, DepthSpace
from anydepth_core.models.detector import check_images, Detector
from anydepth_core.models.rtdetr.backbone import Backbone
from anydepth_core.models.rtdetr.decoder import Decoder
from anydepth_core.models.rtdetr.layout import Layout, VARIANTS
from anydepth_core.models.rtdetr.neck import Neck
from anydepth_core.models.rtdetr.predictions import DetrPredictions

if TYPE_CHECKING:
    from anydepth_core.models.rtdetr.denoising import DenoisingQueries

STAGES = ('backbone.stage1', 'backbone.stage2', 'backbone.stage3', 'backbone.stage4', 'neck')


class AnyDepthRTDETR(Detector):
    """Any-depth RT-DETR.

    Args:
        name: model name.
        layout: sizes.
        variant: ``corrected`` (the decoder's input projection keeps statistics of its own for the
            base pass) or ``published`` (one set, which averages both passes).
        num_classes: number of classes.

    Raises:
        ValueError: if the variant is unknown or there is no class.
    """

    family, resize, suppression = 'rtdetr', 'stretch', 'none'
    training_only = ('decoder.denoising_class_embed.weight',)

    def __init__(
        self, name: str, layout: Layout, variant: str = VARIANTS[0], num_classes: int = 80
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f'{name} has no variant {variant!r}; variants: {", ".join(VARIANTS)}')
        if num_classes < 1:
            raise ValueError(f'num_classes is {num_classes}; at least 1 is needed')
        self.name, self.variant, self.num_classes = name, variant, num_classes
        self.depth_space = DepthSpace(
            STAGES,
            backbone_stages=4,
            decoder_layers=layout.evaluated_layers or layout.decoder_layers,
            max_decoder_layers=layout.decoder_layers,
        )
        self.backbone = Backbone(layout)
        self.neck = Neck(layout)
        self.decoder = Decoder(layout, num_classes, separate=variant == 'corrected')

    def forward(  # type: ignore[override]
        self,
        images: torch.Tensor,
        depth: DepthConfig | str,
        denoising: DenoisingQueries | None = None,
    ) -> DetrPredictions:
        """Run at one depth; see :class:`Detector`.

        In training all decoder layers run and ``denoising`` may be given.
        """
        check_images(images)
        config = self.depth_space.parse(depth)
        bits, layers = config.stages, config.decoder_layers or 1
        c3, c4, c5 = self.backbone(images, bits[:4])
        p3, p4, p5 = self.neck(c3, c4, c5, bits[4])
        maps = self.decoder.input_proj(p3, p4, p5, bits[4])
        predictions, proposals, denoised, tokens = self.decoder(maps, layers, denoising)
        height, width = images.shape[2:]
        stage_maps = [c3, c4, c5, p3, p4, p5]
        return DetrPredictions(
            predictions, proposals, denoised, tokens, stage_maps, (height, width)
        )

    def switched_modules(self) -> list[tuple[int, nn.Module]]:
        """Return backbone stages, neck and the decoder's projections; see :class:`Detector`."""
        return [*enumerate(self.backbone.stages), (4, self.neck), (4, self.decoder.input_proj)]

    def decoder_modules(self) -> list[nn.Module]:
        """Return the decoder layers; see :class:`Detector`."""
        return list(self.decoder.layers)

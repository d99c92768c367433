"""Raw predictions of RT-DETR."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anydepth_core.models.detector import RawPredictions


@dataclass
class LayerPredictions:
    """What one decoder layer, or the encoder, predicts.

    Attributes:
        logits: (B, Q, num_classes), before the sigmoid.
        boxes: (B, Q, 4) centre x, centre y, width, height in 0..1 of the network input.
    """

    logits: torch.Tensor
    boxes: torch.Tensor


@dataclass
class DetrPredictions(RawPredictions):
    """Output of RT-DETR.

    Attributes:
        layers: predictions of the queries after each decoder layer in training, in evaluation of
            the last layer that runs only.
        proposals: predictions of the encoder for the tokens that became queries.
        denoising: predictions of the denoising queries after each decoder layer; empty without.
        tokens: (B, Q) indices of the selected tokens, best first; tokens are numbered stride 8
            first, then 16, 32, row-major inside a level.
        stage_maps: C3, C4, C5 of the backbone, P3, P4, P5 of the neck, each (B, C, H, W).
        image_size: (height, width) of the network input in pixels.
    """

    layers: list[LayerPredictions]
    proposals: LayerPredictions
    denoising: list[LayerPredictions]
    tokens: torch.Tensor
    stage_maps: list[torch.Tensor]
    image_size: tuple[int, int]

    @property
    def logits(self) -> torch.Tensor:
        """(B, Q, num_classes) of the last layer."""
        return self.layers[-1].logits

    @property
    def boxes(self) -> torch.Tensor:
        """(B, Q, 4) cx, cy, w, h in 0..1 of the last layer."""
        return self.layers[-1].boxes

    @property
    def outputs(self) -> dict[str, torch.Tensor]:
        """Boxes (B, 4, Q) in input pixels and scores (B, num_classes, Q)."""
        height, width = self.image_size
        sides = self.boxes.transpose(1, 2).chunk(4, 1)
        factors = (width, height, width, height)
        boxes = torch.cat([side * factor for side, factor in zip(sides, factors)], 1)
        return {'boxes': boxes, 'scores': self.logits.transpose(1, 2).sigmoid()}

    @property
    def features(self) -> list[torch.Tensor]:
        """The ``stage_maps`` themselves."""
        return self.stage_maps

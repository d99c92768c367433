"""Decoder: select the most promising tokens as queries, then refine class and box layer by layer.

Query selection and decoder are those of RT-DETR (arXiv 2304.08069); depth sets how many layers
run.
"""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
import torch.nn.functional as F

from anydepth_core.models.rtdetr.layout import Layout
from anydepth_core.models.rtdetr.predictions import LayerPredictions
from anydepth_core.nn.attention import SelfAttention
from anydepth_core.nn.boxes import inverse_sigmoid
from anydepth_core.nn.conv import fold_norm, FusedConv
from anydepth_core.nn.deformable import DeformableAttention
from anydepth_core.nn.norm import normalise_apart
from anydepth_core.nn.precision import at_least_float32

if TYPE_CHECKING:
    from anydepth_core.models.rtdetr.denoising import DenoisingQueries

LEVELS = 3
_PRIOR = 0.01  # score of every class before training
_BORDER = 0.01  # tokens whose anchor is closer to the border than this are not selected by merit


class Projection(nn.Module):
    """1x1 convolution and norm of one map; the neck's depth bit chooses the norm's statistics.

    Args:
        in_channels: channels of the map.
        out_channels: channels of the decoder.
        separate: keep statistics of its own for the base pass; the published code has one set,
            which averages both passes.
    """

    def __init__(self, in_channels: int, out_channels: int, separate: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.norm_base = nn.BatchNorm2d(out_channels, affine=False) if separate else None

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        x = self.conv(x)
        if full or self.norm_base is None:
            return self.norm(x)
        return normalise_apart(x, self.norm_base, self.norm)

    def fused(self, full: bool) -> FusedConv:
        """Return this at one depth; see ``nn/fuse.py``."""
        norms = (self.norm,) if full or self.norm_base is None else (self.norm, self.norm_base)
        folded = fold_norm(self.conv.weight, *norms)
        return FusedConv(*folded, like=self.conv, activation=nn.Identity())


class Projections(nn.ModuleList):
    """The projections of all maps."""

    def forward(
        self, p3: torch.Tensor, p4: torch.Tensor, p5: torch.Tensor, full: bool
    ) -> tuple[torch.Tensor, ...]:
        """Map three (B, in_channels, H_k, W_k) to three (B, out_channels, H_k, W_k)."""
        return tuple(projection(x, full) for projection, x in zip(self, (p3, p4, p5)))


class Mlp(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        sizes: channels of the input, between the layers, and of the output.
    """

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., sizes[0]) to (..., sizes[-1])."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)


class DecoderLayer(nn.Module):
    """Self-attention of the queries, deformable attention to the maps, two linear layers, heads.

    Args:
        layout: sizes.
        num_classes: number of classes.
    """

    def __init__(self, layout: Layout, num_classes: int) -> None:
        super().__init__()
        channels = layout.channels
        self.self_attn = SelfAttention(channels, layout.heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn = DeformableAttention(channels, layout.heads, LEVELS, layout.points)
        self.norm2 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, layout.hidden)
        self.linear2 = nn.Linear(layout.hidden, channels)
        self.norm3 = nn.LayerNorm(channels)
        self.score_head = score_head(channels, num_classes)
        self.box_head = box_head(channels)

    def forward(
        self,
        x: torch.Tensor,
        boxes: torch.Tensor,
        position: nn.Module,
        maps: Sequence[torch.Tensor],
        blocked: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Refine queries and boxes.

        Args:
            x: queries (B, Q, C).
            boxes: (B, Q, 4) cx, cy, w, h in 0..1.
            position: makes position embeddings (B, Q, C) of boxes.
            maps: three (B, C, H_k, W_k).
            blocked: (Q, Q) bool, True where a query may not attend to another.

        Returns:
            queries and boxes of the same shapes; by how much the boxes moved, in logits.
        """
        embedding = position(boxes)
        x = self.norm1(x + self.self_attn(x, embedding, blocked))
        x = self.norm2(x + self.cross_attn(x + embedding, boxes, maps))
        x = self.norm3(x + self.linear2(F.relu(self.linear1(x))))
        # boxes stay in float32 under autocast: half precision moves them by a pixel
        shift = at_least_float32(self.box_head(x))
        return x, (shift + inverse_sigmoid(boxes)).sigmoid(), shift


class Decoder(nn.Module):
    """Query selection and decoder layers.

    Args:
        layout: sizes.
        num_classes: number of classes.
        separate: see :class:`Projection`.
    """

    def __init__(self, layout: Layout, num_classes: int, separate: bool) -> None:
        super().__init__()
        channels = layout.channels
        self.queries = layout.queries
        self.input_proj = Projections(
            Projection(layout.neck_channels, channels, separate) for _ in range(LEVELS)
        )
        self.denoising_class_embed = nn.Embedding(num_classes + 1, channels, num_classes)
        self.query_pos = Mlp(4, 2 * channels, channels)
        self.enc_output = nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels))
        self.enc_score_head = score_head(channels, num_classes)
        self.enc_bbox_head = box_head(channels)
        self.layers = nn.ModuleList(
            DecoderLayer(layout, num_classes) for _ in range(layout.decoder_layers)
        )
        nn.init.xavier_uniform_(self.enc_output.get_submodule('0').get_parameter('weight'))
        for layer in self.query_pos.layers:
            nn.init.xavier_uniform_(layer.get_parameter('weight'))

    def forward(
        self, maps: Sequence[torch.Tensor], layers: int, denoising: DenoisingQueries | None
    ) -> tuple[list[LayerPredictions], LayerPredictions, list[LayerPredictions], torch.Tensor]:
        """Detect.

        Args:
            maps: the projected maps, strides 8, 16, 32.
            layers: decoder layers to run in evaluation; training runs all.
            denoising: noised ground truth to denoise beside the queries, training only.

        Returns:
            layers, proposals, denoising and tokens of ``DetrPredictions``.
        """
        tokens, content, box_logits, proposals = self._select(maps)
        blocked, known = None, 0
        if denoising is not None:
            blocked = denoising.attention_mask_for(content.shape[1]).to(content.device)
            known = denoising.labels.shape[1]
            embedded = self.denoising_class_embed(denoising.labels)
            content = torch.cat((embedded.to(content.dtype), content), 1)
            box_logits = torch.cat((denoising.boxes_logit.to(box_logits.dtype), box_logits), 1)
        elif self.training:
            # images without targets train the same weights as others, so that of several
            # processes each has every gradient that another waits for
            content = content + 0 * self.denoising_class_embed.weight.sum().to(content.dtype)
        if self.training:
            predictions = self._run_all(content, box_logits.sigmoid(), maps, blocked)
        else:
            predictions = [self._run(content, box_logits.sigmoid(), maps, layers)]
        if not known:
            return predictions, proposals, [], tokens
        parts = [
            [LayerPredictions(p.logits[:, cut], p.boxes[:, cut]) for p in predictions]
            for cut in (slice(known, None), slice(None, known))
        ]
        return parts[0], proposals, parts[1], tokens

    def keep_layers(self, layers: int) -> None:
        """Drop what evaluation after so many layers does not use; see ``nn/fuse.py``."""
        self.layers = self.layers[:layers]
        for layer in self.layers[:-1]:
            del layer.score_head

    def _select(
        self, maps: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, LayerPredictions]:
        """Take the tokens with the highest class logit as queries.

        Returns:
            indices (B, Q); content (B, Q, C) and box logits (B, Q, 4) of the queries, detached;
            the encoder's predictions for them.
        """
        anchors, inside = anchor_logits(maps)
        memory = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1)
        encoded = self.enc_output(torch.where(inside, memory, 0.0))
        scores = self.enc_score_head(encoded)
        shifts = at_least_float32(self.enc_bbox_head(encoded))
        boxes = shifts + anchors.to(shifts.dtype)
        tokens = scores.amax(-1).topk(min(self.queries, scores.shape[1]), 1).indices
        content, logits, boxes = (_gather(x, tokens) for x in (encoded, scores, boxes))
        proposals = LayerPredictions(logits, boxes.sigmoid())
        return tokens, content.detach(), boxes.detach(), proposals

    def _run(
        self, x: torch.Tensor, boxes: torch.Tensor, maps: Sequence[torch.Tensor], layers: int
    ) -> LayerPredictions:
        """Predictions after so many layers."""
        for layer in self.layers[:layers]:
            x, boxes, _ = layer(x, boxes, self.query_pos, maps)
        score = self.layers[layers - 1].get_submodule('score_head')
        return LayerPredictions(score(x), boxes)

    def _run_all(
        self,
        x: torch.Tensor,
        boxes: torch.Tensor,
        maps: Sequence[torch.Tensor],
        blocked: torch.Tensor | None,
    ) -> list[LayerPredictions]:
        """Predictions after every layer.

        A layer starts from the boxes of the one before without gradient, but its loss also
        teaches that one where to move them ("look forward twice", arXiv 2203.03605).
        """
        predictions = []
        for layer in self.layers:
            before = boxes
            x, boxes, shift = layer(x, before.detach(), self.query_pos, maps, blocked)
            taught = (shift + inverse_sigmoid(before)).sigmoid()
            predictions.append(LayerPredictions(layer.get_submodule('score_head')(x), taught))
        return predictions


def score_head(channels: int, num_classes: int) -> nn.Linear:
    """Class logits; every class starts at a score of 0.01."""
    head = nn.Linear(channels, num_classes)
    nn.init.constant_(head.bias, -math.log((1 - _PRIOR) / _PRIOR))
    return head


def box_head(channels: int) -> Mlp:
    """Shift of a box in logits; it starts at none."""
    head = Mlp(channels, channels, channels, 4)
    last = head.layers[-1]
    nn.init.zeros_(last.get_parameter('weight'))
    nn.init.zeros_(last.get_parameter('bias'))
    return head


def anchor_logits(maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes around every cell, from which the encoder's box head starts.

    Args:
        maps: three (B, C, H_k, W_k), strides 8, 16, 32.

    Returns:
        (1, A, 4) float32 logits of cx, cy, w, h, infinite where a coordinate is not within 0.01
        to 0.99; (1, A, 1) bool, False there. Always computed in float32, so that a detector in
        another precision sees the same values.
    """
    anchors = []
    for level, x in enumerate(maps):
        height, width = x.shape[2:]
        rows = (torch.arange(height, dtype=torch.float32, device=x.device) + 0.5) / height
        columns = (torch.arange(width, dtype=torch.float32, device=x.device) + 0.5) / width
        grid_y, grid_x = torch.meshgrid(rows, columns, indexing='ij')
        side = torch.full_like(grid_x, 0.05 * 2.0**level)
        anchors.append(torch.stack((grid_x, grid_y, side, side), -1).reshape(1, -1, 4))
    boxes = torch.cat(anchors, 1)
    inside = ((boxes > _BORDER) & (boxes < 1 - _BORDER)).all(-1, keepdim=True)
    return torch.where(inside, torch.log(boxes / (1 - boxes)), float('inf')), inside


def _gather(x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Rows (B, Q, C) of x (B, N, C) at the indices (B, Q)."""
    return x.gather(1, tokens.unsqueeze(-1).expand(-1, -1, x.shape[-1]))

"""Denoising queries: noised targets whose match is known (DINO, arXiv 2203.03605)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anydepth_core.models.rtdetr.matcher import GroundTruth, Pairs
from anydepth_core.nn.boxes import cxcywh_to_xyxy, inverse_sigmoid, xyxy_to_cxcywh


@dataclass(frozen=True)
class DenoisingSettings:
    """How many denoising queries there are and how far they are from the truth.

    Attributes:
        queries: positive queries per image, about; 0 for no denoising.
        label_noise: half of this share of the classes is drawn anew.
        box_noise: each side of a box moves by up to half this share of the box's width or height;
            from half to all of it in negative queries.
    """

    queries: int = 100
    label_noise: float = 0.5
    box_noise: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.queries < 0 or not 0 <= self.label_noise <= 1 or self.box_noise < 0:
            raise ValueError(
                f'denoising: queries {self.queries} and box_noise {self.box_noise} must be 0 or '
                f'more, label_noise {self.label_noise} must be in 0..1'
            )


@dataclass(frozen=True)
class DenoisingQueries:
    """Denoising queries of a batch, D per image.

    Each group holds one positive and one negative query per target of the image with most
    targets: first all positives, then all negatives. Images with fewer targets are padded.

    Attributes:
        labels: (B, D) int64 noised class; the number of classes where padded.
        boxes_logit: (B, D, 4) float32 noised box, inverse sigmoid of centre x, centre y, width,
            height in 0..1.
        positives: per image (P,) int64 positions of the positive queries, group by group; entry k
            learns target k modulo the number of targets of that image.
        groups: number of groups.
    """

    labels: torch.Tensor
    boxes_logit: torch.Tensor
    positives: tuple[torch.Tensor, ...]
    groups: int

    def attention_mask_for(self, queries: int) -> torch.Tensor:
        """Say who may not see whom when ``queries`` ordinary queries follow.

        Returns:
            (D + queries, D + queries) bool, True where the row may not attend to the column:
            nothing outside a group sees the group, which knows the truth.
        """
        count = self.labels.shape[1]
        group = torch.arange(count + queries, device=self.labels.device) // (count // self.groups)
        group[count:] = self.groups
        return (group.unsqueeze(1) != group) & (group != self.groups)

    def pairs(self, truth: GroundTruth) -> Pairs:
        """Positive queries with their targets; ``truth`` is what the queries were drawn from."""
        device = self.labels.device
        images, targets = [], []
        for image, (positions, start) in enumerate(zip(self.positives, truth.starts)):
            order = torch.arange(len(positions), device=device)
            images.append(torch.full_like(order, image))
            targets.append(start + order % max(1, truth.counts[image]))
        return Pairs(torch.cat(images), torch.cat(self.positives), torch.cat(targets))


def draw_denoising_queries(
    truth: GroundTruth,
    num_classes: int,
    settings: DenoisingSettings,
    generator: torch.Generator,
) -> DenoisingQueries | None:
    """Draw denoising queries for a batch.

    Args:
        truth: ground truth.
        num_classes: number of classes.
        settings: number of queries and noise.
        generator: all chance; where it is on the CPU, every device gets the same queries.

    Returns:
        The queries, None if no image has a target or the settings ask for none.
    """
    most = max(truth.counts, default=0)
    if most == 0 or settings.queries == 0:
        return None
    groups = max(1, settings.queries // most)
    labels, boxes, valid = (part.repeat(1, 2 * groups, 1) for part in _pad(truth, most))
    negative = torch.arange(labels.shape[1], device=labels.device).view(-1, 1) // most % 2 == 1

    redraw = _uniform(labels.shape, generator, labels.device) < settings.label_noise / 2
    drawn = torch.randint(num_classes, labels.shape, generator=generator, device=generator.device)
    labels = torch.where(redraw, drawn.to(labels.device), labels)
    labels = labels.masked_fill(~valid, num_classes)
    boxes = _move_sides(boxes, negative, settings.box_noise, generator)
    return DenoisingQueries(
        labels.squeeze(-1),
        inverse_sigmoid(boxes).masked_fill(~valid, float(inverse_sigmoid(torch.zeros(())))),
        tuple(_positives(count, most, groups, labels.device) for count in truth.counts),
        groups,
    )


def _pad(truth: GroundTruth, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels (B, most, 1), boxes (B, most, 4) in float32, and where there is a target."""
    shape = (len(truth.counts), most)
    starts = torch.tensor(truth.starts, device=truth.labels.device)
    column = torch.arange(len(truth.labels), device=starts.device) - starts[truth.image_index]
    where = (truth.image_index, column)
    boxes = torch.zeros(*shape, 4, device=starts.device)
    valid = torch.zeros(*shape, 1, dtype=torch.bool, device=starts.device)
    labels = truth.labels.new_zeros(*shape, 1)
    return (
        labels.index_put(where, truth.labels.unsqueeze(-1)),
        boxes.index_put(where, truth.boxes_cxcywh.float()),
        valid.index_put(where, torch.ones_like(truth.labels, dtype=torch.bool).unsqueeze(-1)),
    )


def _move_sides(
    boxes_cxcywh: torch.Tensor, negative: torch.Tensor, noise: float, generator: torch.Generator
) -> torch.Tensor:
    """Move every side of (B, D, 4) boxes outwards or inwards, at most to the image's border."""
    device = boxes_cxcywh.device
    share = (_uniform(boxes_cxcywh.shape, generator, device) + negative) / 2 * noise
    inwards = _uniform(boxes_cxcywh.shape, generator, device) < 0.5
    step = torch.where(inwards, -share, share) * boxes_cxcywh[..., 2:].repeat(1, 1, 2)
    # a negative box whose sides pass each other has a negative size, that is none; as published
    return xyxy_to_cxcywh((cxcywh_to_xyxy(boxes_cxcywh) + step).clamp(0, 1))


def _positives(count: int, most: int, groups: int, device: torch.device) -> torch.Tensor:
    """Positions of the positive queries of an image with ``count`` targets."""
    starts = torch.arange(groups, device=device).unsqueeze(1) * 2 * most
    return (starts + torch.arange(count, device=device)).flatten()


def _uniform(shape: torch.Size, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(device)

"""Box geometry in torch: anchor points, decoding of side distributions, overlaps, conversions."""

from __future__ import annotations

from collections.abc import Sequence
import math

import torch


def anchor_points(
    levels: Sequence[torch.Tensor], strides: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres of all cells, finest level first, row-major inside a level.

    Args:
        levels: maps (B, C, H, W), one per stride.
        strides: input pixels per cell.

    Returns:
        points (A, 2): x, y in cells of their own level (cell centre = index + 0.5); stride (A, 1)
            of each point.
    """
    points, point_strides = [], []
    for level, stride in zip(levels, strides):
        height, width = level.shape[2:]
        ys = torch.arange(height, device=level.device, dtype=level.dtype) + 0.5
        xs = torch.arange(width, device=level.device, dtype=level.dtype) + 0.5
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing='ij')
        points.append(torch.stack((grid_x, grid_y), -1).reshape(-1, 2))
        point_strides.append(torch.full_like(points[-1][:, :1], stride))
    return torch.cat(points), torch.cat(point_strides)


def side_distances(box_logits: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Return the expectation of the four side distributions.

    Args:
        box_logits: (..., 4 * n) logits, sides left, top, right, bottom with n bins each.
        bins: (n,) distance of each bin.

    Returns:
        (..., 4) distances in the unit of ``bins``.
    """
    sides = box_logits.unflatten(-1, (4, len(bins)))
    return (sides.softmax(-1) * bins).sum(-1)


def distances_to_xyxy(distances: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Boxes left, top, right, bottom from (..., A, 4) side distances around (A, 2) points."""
    left_top, right_bottom = distances.chunk(2, -1)
    return torch.cat((points - left_top, points + right_bottom), -1)


def decode_levels(
    levels: Sequence[torch.Tensor], strides: Sequence[int], bins: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes and scores of a dense head.

    Args:
        levels: (B, 4 * len(bins) + num_classes, H, W) per stride.
        strides: input pixels per cell.
        bins: (n,) distance of each bin in cells.

    Returns:
        boxes (B, 4, A): centre x, centre y, width, height in input pixels; scores (B, num_classes,
            A) in [0, 1].
    """
    flat = torch.cat([level.flatten(2) for level in levels], 2)
    split = 4 * len(bins)
    box_logits, class_logits = flat[:, :split], flat[:, split:]
    points, point_strides = anchor_points(levels, strides)
    distances = side_distances(box_logits.transpose(1, 2), bins.to(flat.dtype))
    left_top, right_bottom = distances.chunk(2, -1)
    centre = points + (right_bottom - left_top) / 2
    boxes = torch.cat((centre, left_top + right_bottom), -1) * point_strides
    return boxes.transpose(1, 2), class_logits.sigmoid()


def complete_iou(a: torch.Tensor, b: torch.Tensor, eps: float = 1e-7) -> torch.Tensor:
    """Return the CIoU of pairs: overlap, centre distance, aspect ratio (arXiv 1911.08287).

    Args:
        a: (..., 4) left, top, right, bottom.
        b: boxes of broadcastable shape in the same unit.
        eps: added to heights, union and squared diagonal.

    Returns:
        (...) values of at most 1; no gradient flows through the aspect-ratio weight.
    """
    a_left, a_top, a_right, a_bottom = a.unbind(-1)
    b_left, b_top, b_right, b_bottom = b.unbind(-1)
    a_width, a_height = a_right - a_left, a_bottom - a_top + eps
    b_width, b_height = b_right - b_left, b_bottom - b_top + eps
    overlap_width = (torch.minimum(a_right, b_right) - torch.maximum(a_left, b_left)).clamp(min=0)
    overlap_height = (torch.minimum(a_bottom, b_bottom) - torch.maximum(a_top, b_top)).clamp(min=0)
    overlap = overlap_width * overlap_height
    iou = overlap / (a_width * a_height + b_width * b_height - overlap + eps)

    hull_width = torch.maximum(a_right, b_right) - torch.minimum(a_left, b_left)
    hull_height = torch.maximum(a_bottom, b_bottom) - torch.minimum(a_top, b_top)
    diagonal = hull_width**2 + hull_height**2 + eps
    distance = (
        (b_left + b_right - a_left - a_right) ** 2 + (b_top + b_bottom - a_top - a_bottom) ** 2
    ) / 4
    aspect = (
        4 / math.pi**2 * (torch.atan(b_width / b_height) - torch.atan(a_width / a_height)) ** 2
    )
    with torch.no_grad():
        weight = aspect / (aspect - iou + 1 + eps)
    return iou - (distance / diagonal + aspect * weight)


def cxcywh_to_xyxy(boxes: torch.Tensor) -> torch.Tensor:
    """Corners left, top, right, bottom of (..., 4) boxes centre x, centre y, width, height."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def xyxy_to_cxcywh(boxes: torch.Tensor) -> torch.Tensor:
    """Centre x, centre y, width, height of (..., 4) boxes left, top, right, bottom."""
    left_top, right_bottom = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((left_top + right_bottom) / 2, right_bottom - left_top), -1)


def plain_iou(a: torch.Tensor, b: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """Return the overlap of pairs of boxes divided by their union.

    Args:
        a: (..., 4) left, top, right, bottom.
        b: boxes of broadcastable shape in the same unit.
        eps: least union; boxes without area have no overlap instead of NaN.

    Returns:
        (...) values in [0, 1].
    """
    overlap, union = _overlap_and_union(a, b)
    return overlap / union.clamp(min=eps)


def generalized_iou(a: torch.Tensor, b: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """Return the GIoU of pairs of boxes (arXiv 1902.09630).

    Args:
        a: (..., 4) left, top, right, bottom.
        b: boxes of broadcastable shape in the same unit.
        eps: least union and least area of the hull.

    Returns:
        (...) the IoU minus the empty part of the hull of both boxes, in [-1, 1].
    """
    overlap, union = _overlap_and_union(a, b)
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return overlap / union.clamp(min=eps) - (hull - union) / hull.clamp(min=eps)


def _overlap_and_union(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Areas of the intersection and of the union of pairs of boxes left, top, right, bottom."""
    left_top = torch.maximum(a[..., :2], b[..., :2])
    right_bottom = torch.minimum(a[..., 2:], b[..., 2:])
    overlap = _area(left_top, torch.maximum(left_top, right_bottom))
    area_a, area_b = (_area(each[..., :2], each[..., 2:]) for each in (a, b))
    return overlap, area_a + area_b - overlap


def _area(left_top: torch.Tensor, right_bottom: torch.Tensor) -> torch.Tensor:
    width, height = (right_bottom - left_top).unbind(-1)
    return width * height


def inverse_sigmoid(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Logit of values in [0, 1], finite at the ends.

    Args:
        x: any shape; clamped to [0, 1].
        eps: least value of ``x`` and of ``1 - x`` inside the logarithm.

    Returns:
        log(x / (1 - x)) of the shape of ``x``.
    """
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))

"""One query for every target: optimal matching per image (DETR, arXiv 2005.12872)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from anydepth_core.models.rtdetr.predictions import LayerPredictions
from anydepth_core.nn.boxes import cxcywh_to_xyxy, generalized_iou

_FIRST = -1e9  # below any cost: a class cost is within +-40, a distance within 20


@dataclass(frozen=True)
class GroundTruth:
    """Targets of a batch, all images in one list.

    Attributes:
        labels: (M,) int64 class indices.
        boxes_cxcywh: (M, 4) centre x, centre y, width, height in 0..1 of the image.
        image_index: (M,) int64 image of each target, ascending.
        counts: number of targets of each image.
    """

    labels: torch.Tensor
    boxes_cxcywh: torch.Tensor
    image_index: torch.Tensor
    counts: tuple[int, ...]

    @property
    def starts(self) -> list[int]:
        """Index of the first target of each image."""
        return [sum(self.counts[:image]) for image in range(len(self.counts))]


@dataclass(frozen=True)
class Pairs:
    """Queries and the targets that they learn, P pairs.

    Attributes:
        image: (P,) int64 image in the batch.
        query: (P,) int64 query of that image.
        target: (P,) int64 index into the ground truth.
    """

    image: torch.Tensor
    query: torch.Tensor
    target: torch.Tensor

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Rows (P, ...) of (B, Q, ...) values that belong to the pairs."""
        return values[self.image, self.query]

    def select(self, rows: torch.Tensor) -> Pairs:
        """Pairs at the given rows."""
        return Pairs(self.image[rows], self.query[rows], self.target[rows])


@dataclass(frozen=True)
class MatchCosts:
    """What decides which query a target takes.

    Attributes:
        label: weight of the focal class cost at the target's class.
        box: weight of the L1 distance of the boxes.
        giou: weight of the negative GIoU.
        alpha: balance of the focal cost.
        gamma: exponent of the focal cost.
    """

    label: float = 2.0
    box: float = 5.0
    giou: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0


@torch.no_grad()
def match(
    predictions: Sequence[LayerPredictions], truth: GroundTruth, costs: MatchCosts
) -> list[Pairs]:
    """Match every prediction set with the ground truth, each for itself.

    The costs of all sets travel to the CPU together. Where an image has more targets than
    queries, the targets that cost most stay without a query. A query whose cost is not finite is
    taken first: its loss is then not finite either, which the training step refuses in all
    processes at once. An error from here would stop one process and leave the others waiting.

    Args:
        predictions: prediction sets with equal numbers of queries.
        truth: ground truth.
        costs: weights of the costs.

    Returns:
        Pairs per prediction set, targets ascending.

    Raises:
        ImportError: if SciPy is missing.
    """
    if not len(truth.labels):
        none = truth.image_index
        return [Pairs(none, none, none) for _ in predictions]
    matrices = torch.stack([matching_cost(each, truth, costs) for each in predictions])
    matrices = torch.where(matrices.isfinite(), matrices, _FIRST).cpu()
    return [_assign(matrix, truth) for matrix in matrices]


def matching_cost(
    predictions: LayerPredictions, truth: GroundTruth, costs: MatchCosts
) -> torch.Tensor:
    """Cost (M, Q) of giving each target each query of its image, in float32 or better."""
    dtype = torch.promote_types(predictions.logits.dtype, torch.float32)
    image = truth.image_index
    score = predictions.logits[image, :, truth.labels].to(dtype).sigmoid()
    boxes = predictions.boxes[image].to(dtype)
    targets = truth.boxes_cxcywh.to(dtype).unsqueeze(1)
    present = costs.alpha * (1 - score) ** costs.gamma * -(score + 1e-8).log()
    absent = (1 - costs.alpha) * score**costs.gamma * -(1 - score + 1e-8).log()
    distance = (boxes - targets).abs().sum(-1)
    overlap = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    return costs.label * (present - absent) + costs.box * distance - costs.giou * overlap


def _assign(matrix: torch.Tensor, truth: GroundTruth) -> Pairs:
    """Solve the assignment of each image in an (M, Q) cost matrix."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise ImportError(
            'matching targets needs SciPy: pip install "anydepth-ros[train]"'
        ) from None
    targets, queries = [], []
    for start, costs in zip(truth.starts, matrix.split(list(truth.counts))):
        rows, columns = linear_sum_assignment(costs.numpy())
        targets.append(torch.from_numpy(rows) + start)
        queries.append(torch.from_numpy(columns))
    device = truth.image_index.device
    target, query = torch.stack((torch.cat(targets), torch.cat(queries))).to(device)
    return Pairs(truth.image_index[target], query, target)

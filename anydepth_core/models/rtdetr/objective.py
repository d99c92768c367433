"""What RT-DETR learns in one step: the ground truth at both depths, the full depth at the base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from anydepth_core.data.loader import Batch
from anydepth_core.models.rtdetr.criterion import (
    denoising_sets,
    Losses,
    matched_sets,
    truth_losses,
    TruthWeights,
)
from anydepth_core.models.rtdetr.denoising import (
    DenoisingQueries,
    DenoisingSettings,
    draw_denoising_queries,
)
from anydepth_core.models.rtdetr.distill import (
    distillation_losses,
    DistillationSettings,
    pool,
    Teacher,
    teacher_of,
)
from anydepth_core.models.rtdetr.matcher import GroundTruth, match, MatchCosts, Pairs
from anydepth_core.models.rtdetr.predictions import DetrPredictions, LayerPredictions
from anydepth_core.nn.boxes import xyxy_to_cxcywh
from anydepth_core.train.chance import seed_of


@dataclass(frozen=True)
class DetrLossSettings:
    """All that decides the losses. The defaults are the corrected losses.

    Attributes:
        same_view: both passes see the same image size and denoising noise. Published: each pass
            draws its own, so that the base also learns the difference of the views. Should make
            the distillation terms smaller and less noisy from the first step on, and let them
            fall to zero for two depths that agree.
        base_vfl: weight of the varifocal term of the base's last layer against the ground truth.
            Published: 0, and nothing tells its unmatched queries that they are background: the
            distillation looks at matched queries only. Should bring fewer false detections and
            scores of the same meaning as the full depth's, so that one threshold serves both;
            visible in AP at base with all decoder layers and in the scores of empty images. The
            term is the one that trains every other layer (arXiv 2008.13367, 2304.08069); the
            teacher's scores cannot stand in, because unmatched queries of two passes have no
            counterpart in each other.
        matching: costs of the matching.
        truth: weights of the terms against the ground truth.
        distillation: form and weights of the terms against the full pass.
        denoising: denoising queries.
    """

    same_view: bool = True
    base_vfl: float = 1.0
    matching: MatchCosts = field(default_factory=MatchCosts)
    truth: TruthWeights = field(default_factory=TruthWeights)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    denoising: DenoisingSettings = field(default_factory=DenoisingSettings)


PRESETS = {
    'corrected': DetrLossSettings(),
    'published': DetrLossSettings(
        same_view=False,
        base_vfl=0.0,
        distillation=DistillationSettings(class_form='softmax'),
    ),
}
"""The default, and the losses of the published code."""


@dataclass(frozen=True)
class DetrTargets:
    """What one pass over a batch learns.

    Attributes:
        truth: ground truth.
        normaliser: () number of targets that the sums are divided by, at least 1.
        denoising: denoising queries, None if there are none.
    """

    truth: GroundTruth
    normaliser: torch.Tensor
    denoising: DenoisingQueries | None


def ground_truth(batch: Batch) -> GroundTruth:
    """Targets of a batch with boxes in 0..1 of the network input."""
    height, width = batch.images.shape[2:]
    boxes = batch.boxes_xyxy_px
    counts = torch.bincount(batch.image_index, minlength=len(batch)).tolist()
    return GroundTruth(
        batch.labels,
        xyxy_to_cxcywh(boxes / boxes.new_tensor((width, height, width, height))),
        batch.image_index,
        tuple(counts),
    )


class RtDetrObjective:
    """Losses of both passes of RT-DETR; see ``anydepth_core.train.objective``.

    Terms carry the published names: ``loss_vfl``, ``loss_bbox``, ``loss_giou`` of the last decoder
    layer, with ``_aux_<i>`` of the layers before it and, last, of the encoder's proposals, with
    ``_dn_<i>`` of the denoising queries; ``loss_..._kd`` against the full pass. Each contains its
    weight, ``total`` is their sum.

    Args:
        settings: what decides the losses.
        num_classes: number of classes.
        seed: start of the denoising noise; give each process its own.
        normaliser: what the sums are divided by, from the number that these images give, see
            ``Processes.normaliser``.
    """

    grows = False

    def __init__(
        self,
        settings: DetrLossSettings,
        num_classes: int,
        seed: int = 0,
        normaliser: Callable[[torch.Tensor], torch.Tensor] = lambda number: number.clamp(min=1),
    ) -> None:
        self.settings = settings
        self.num_classes = num_classes
        self.seed = seed
        self.normaliser = normaliser
        self.same_view = settings.same_view
        self.generator = torch.Generator().manual_seed(seed)

    def set_step(self, epoch: int, step: int) -> None:
        """Choose the noise of a step, so that a resumed run draws what an unbroken one does."""
        self.generator.manual_seed(seed_of(self.seed, epoch, step))

    def prepare(self, batch: Batch) -> DetrTargets:
        """Ground truth of a batch, and fresh denoising queries."""
        truth = ground_truth(batch)
        number = batch.boxes_xyxy_px.new_tensor(float(len(truth.labels)))
        queries = draw_denoising_queries(
            truth, self.num_classes, self.settings.denoising, self.generator
        )
        return DetrTargets(truth, self.normaliser(number), queries)

    def inputs(self, targets: DetrTargets) -> dict[str, Any]:
        """Return what the detector takes besides images and depth."""
        return {} if targets.denoising is None else {'denoising': targets.denoising}

    def full(self, raw: DetrPredictions, targets: DetrTargets) -> tuple[Losses, Teacher]:
        """Loss of the full pass, and what it teaches the base pass.

        Raises:
            ValueError: if the detector was called without ``inputs``.
        """
        sets = matched_sets(raw)
        pairs = self._match(sets, targets)
        losses = self._truth_losses(sets, pairs, targets) | self._denoising_losses(raw, targets)
        return _with_total(losses), teacher_of(sets[''], pairs[''], pool(raw.stage_maps))

    def base(
        self, raw: DetrPredictions, teacher: Teacher, targets: DetrTargets
    ) -> tuple[Losses, Losses]:
        """Losses of the base pass against the ground truth and against the full pass.

        The last layer's boxes learn from the full pass only, as published.

        Raises:
            ValueError: if the detector was called without ``inputs``.
        """
        sets = matched_sets(raw)
        pairs = self._match(sets, targets)
        last, last_pairs = sets.pop(''), pairs.pop('')
        losses = self._truth_losses(sets, pairs, targets) | self._denoising_losses(raw, targets)
        if self.settings.base_vfl:
            weights = replace(self.settings.truth, vfl=self.settings.base_vfl)
            terms = truth_losses(last, targets.truth, last_pairs, targets.normaliser, weights)
            losses['loss_vfl'] = terms['loss_vfl']
        distilled = distillation_losses(
            last,
            last_pairs,
            pool(raw.stage_maps),
            teacher,
            targets.normaliser,
            self.settings.distillation,
        )
        return _with_total(losses), _with_total(distilled)

    def base_total(self, losses: Losses, distillation: Losses) -> torch.Tensor:
        """Return what the base pass minimises."""
        return losses['total'] + distillation['total']

    def _match(self, sets: dict[str, LayerPredictions], targets: DetrTargets) -> dict[str, Pairs]:
        return dict(zip(sets, match(list(sets.values()), targets.truth, self.settings.matching)))

    def _truth_losses(
        self,
        sets: dict[str, LayerPredictions],
        pairs: dict[str, Pairs],
        targets: DetrTargets,
    ) -> Losses:
        losses: Losses = {}
        for suffix, predictions in sets.items():
            losses |= truth_losses(
                predictions,
                targets.truth,
                pairs[suffix],
                targets.normaliser,
                self.settings.truth,
                suffix,
            )
        return losses

    def _denoising_losses(self, raw: DetrPredictions, targets: DetrTargets) -> Losses:
        """Terms of the denoising queries, divided by the number of groups too."""
        sets, queries = denoising_sets(raw), targets.denoising
        if bool(sets) != (queries is not None):
            raise ValueError(
                f'the targets have {"no " if queries is None else ""}denoising queries, the '
                f'predictions have {len(sets)} layers of them; call the detector with '
                '**objective.inputs(targets)'
            )
        if queries is None:
            return {}
        fixed = dict.fromkeys(sets, queries.pairs(targets.truth))
        grouped = replace(targets, normaliser=targets.normaliser * queries.groups)
        return self._truth_losses(sets, fixed, grouped)


def _with_total(losses: Losses) -> Losses:
    return losses | {'total': torch.stack(list(losses.values())).sum()}

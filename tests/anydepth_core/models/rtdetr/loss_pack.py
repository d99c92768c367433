"""Predictions and targets of the golden loss pack, in the form that the losses read."""

from pathlib import Path

import numpy as np
import torch

from anydepth_core.models.rtdetr.denoising import DenoisingQueries
from anydepth_core.models.rtdetr.matcher import GroundTruth
from anydepth_core.models.rtdetr.objective import DetrTargets
from anydepth_core.models.rtdetr.predictions import DetrPredictions, LayerPredictions
from tests import golden

PACK = golden.load(Path(__file__).parents[3] / 'data' / 'golden' / 'detr_loss.npz')
RUNS = [(case, noise) for case, content in PACK.meta['cases'].items() for noise in content['runs']]
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Relative limit of the loss terms."""


def truth_of(case, dtype=torch.float64):
    labels, boxes = (PACK.meta['cases'][case][key] for key in ('labels', 'boxes'))
    counts = tuple(len(image) for image in labels)
    return GroundTruth(
        torch.tensor([label for image in labels for label in image], dtype=torch.int64),
        torch.tensor([box for image in boxes for box in image], dtype=dtype).reshape(-1, 4),
        torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
        counts,
    )


def denoising_queries():
    return DenoisingQueries(
        torch.from_numpy(PACK['dn_labels']).long(),
        torch.from_numpy(PACK['dn_boxes_logit']),
        tuple(torch.from_numpy(PACK[f'dn_positive_idx.{image}']).long() for image in range(2)),
        PACK.meta['dn']['num_group'],
    )


def targets_of(case, noise, dtype=torch.float64):
    truth = truth_of(case, dtype)
    number = torch.tensor(float(PACK.meta['cases'][case]['N']), dtype=dtype)
    return DetrTargets(truth, number, denoising_queries() if noise == 'dn' else None)


def layers_of(prefix, dtype):
    logits, boxes = (
        torch.from_numpy(PACK[f'{prefix}_{part}']).to(dtype).requires_grad_()
        for part in ('logits', 'boxes')
    )
    return [LayerPredictions(*layer) for layer in zip(logits, boxes)]


def raw_of(which, noise, dtype=torch.float64):
    """Predictions of the ``super`` or ``base`` pass; pooled maps stand in for the maps."""
    last, *auxiliary, proposals = layers_of(which, dtype)
    maps = []
    for part in ('backbone', 'encoder'):
        pooled = torch.from_numpy(PACK[f'{which}_pool_{part}']).to(dtype).requires_grad_()
        maps += pooled[..., None, None].split(PACK.meta['pool_channels'][part], 1)
    return DetrPredictions(
        layers=[*auxiliary, last],
        proposals=proposals,
        denoising=layers_of(f'{which}_dn', dtype) if noise == 'dn' else [],
        tokens=torch.zeros(2, 300, dtype=torch.int64),
        stage_maps=maps,
        image_size=(256, 256),
    )


def first_image(raw):
    """Return the predictions of the first image alone."""

    def cut(layer):
        return LayerPredictions(layer.logits[:1], layer.boxes[:1])

    return DetrPredictions(
        [cut(layer) for layer in raw.layers],
        cut(raw.proposals),
        [cut(layer) for layer in raw.denoising],
        raw.tokens[:1],
        [each[:1] for each in raw.stage_maps],
        raw.image_size,
    )


def as_triples(pairs):
    return set(zip(pairs.image.tolist(), pairs.query.tolist(), pairs.target.tolist()))


def stored_matching(case, which, entry):
    """Triples image, query, target in the order that ``as_triples`` gives."""
    content = PACK.meta['cases'][case]
    starts = np.cumsum([0] + [len(labels) for labels in content['labels']])
    return {
        (image, query, int(starts[image]) + target)
        for image, (queries, targets) in enumerate(content['match'][which][entry])
        for query, target in zip(queries, targets)
    }

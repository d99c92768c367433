"""Where a training run starts: random weights, or those of a checkpoint."""

from __future__ import annotations

import logging

from anydepth_core.checkpoint import read_checkpoint
from anydepth_core.checkpoint.io import load_weights
from anydepth_core.models.build import build_detector
from anydepth_core.models.detector import Detector
from anydepth_core.nn.norm import FrozenBatchNorm
from anydepth_core.train.settings import ModelSettings

logger = logging.getLogger(__name__)


def starting_detector(model: ModelSettings, num_classes: int, weights: str = '') -> Detector:
    """Build the detector of a recipe with the weights that training starts from.

    Args:
        model: which detector.
        num_classes: classes of the training images.
        weights: checkpoint in any readable form; empty for random weights.

    Raises:
        ValueError: if the checkpoint cannot be read or belongs to another model.
    """
    detector = build_detector(model.name, model.variant, num_classes)
    if weights:
        take_weights(detector, read_checkpoint(weights, detector.name, detector.variant), weights)
    elif any(isinstance(module, FrozenBatchNorm) for module in detector.modules()):
        logger.warning(
            '%s keeps its stem and the norms of its backbone as they are, so it needs pre-trained '
            'weights: name them with --weights, or train rtdetr_r18 or rtdetr_r34, which learn '
            'from scratch',
            detector.name,
        )
    return detector


def take_weights(detector: Detector, given: Detector, source: str) -> None:
    """Copy the weights of a detector of the same model, which may know other classes.

    Where the number of classes differs, the tensors whose shape depends on it keep their fresh
    values; the log names them.

    Raises:
        ValueError: if anything else does not fit.
    """
    own, tensors = detector.state_dict(), given.state_dict()
    fresh: list[str] = []
    if given.num_classes != detector.num_classes:
        fresh = [key for key in own if key in tensors and tensors[key].shape != own[key].shape]
    load_weights(detector, {**tensors, **{key: own[key] for key in fresh}})
    logger.info('%s: %d of %d tensors taken', source, len(own) - len(fresh), len(own))
    if fresh:
        logger.info(
            '%d classes instead of %d, these tensors start fresh: %s',
            detector.num_classes,
            given.num_classes,
            ', '.join(fresh),
        )

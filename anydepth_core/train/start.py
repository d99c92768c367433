"""Where a training run starts: random weights, or those of a checkpoint."""

from __future__ import annotations

import logging

import torch

from anydepth_core.checkpoint import read_checkpoint
from anydepth_core.checkpoint.io import load_weights
from anydepth_core.data.coco import CocoDataset
from anydepth_core.evaluation.torch_predict import detector_of_bundle
from anydepth_core.export.bundle import is_bundle, load_bundle
from anydepth_core.models.build import build_detector
from anydepth_core.models.detector import Detector
from anydepth_core.nn.norm import FrozenBatchNorm, share_norms
from anydepth_core.train.settings import ModelSettings, TrainSettings

logger = logging.getLogger(__name__)


def starting_detector(model: ModelSettings, num_classes: int, init: str = '') -> Detector:
    """Build the detector of a recipe with the weights that training starts from.

    Args:
        model: which detector.
        num_classes: classes of the training images.
        init: checkpoint in any readable form, or bundle; empty for random weights.

    Raises:
        ValueError: if the checkpoint cannot be read or belongs to another model.
    """
    detector = build_detector(model.name, model.variant, num_classes)
    if init:
        take_weights(detector, _read(init, detector), init)
    elif any(isinstance(module, FrozenBatchNorm) for module in detector.modules()):
        logger.warning(
            '%s keeps its stem and the norms of its backbone as they are, so it needs pre-trained '
            'weights: name them with --init, or train rtdetr_r18 or rtdetr_r34, which learn '
            'from scratch',
            detector.name,
        )
    return detector


def _read(init: str, wanted: Detector) -> Detector:
    """Read the weights of a checkpoint, or of a bundle, which keeps them in float16."""
    if not is_bundle(init):
        return read_checkpoint(init, wanted.name, wanted.variant)
    bundle = load_bundle(init)
    if (bundle.model_name, bundle.variant) != (wanted.name, wanted.variant):
        raise ValueError(
            f'{init} holds {bundle.model_name} ({bundle.variant}), '
            f'not {wanted.name} ({wanted.variant})'
        )
    return detector_of_bundle(bundle)


def prepared_detector(
    settings: TrainSettings, num_classes: int, device: torch.device, fresh: bool = True
) -> Detector:
    """Build the detector of a recipe on its device, ready to be trained.

    Args:
        settings: the recipe.
        num_classes: classes of the training images.
        device: where it is trained.
        fresh: with the weights that training starts from; False where others are loaded.

    Raises:
        ValueError: if the checkpoint of the recipe cannot be read or belongs to another model.
    """
    torch.manual_seed(settings.seed)
    model = settings.model
    if fresh:
        detector = starting_detector(model, num_classes, settings.init)
    else:
        detector = build_detector(model.name, model.variant, num_classes)
    detector = detector.to(device)
    # channels last: the layout in which both CPU and GPU convolutions are fastest
    detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.ablation.shared_norms:
        share_norms(detector)
    return detector


def check_same_classes(train_set: CocoDataset, val_set: CocoDataset) -> None:
    """Compare the classes of both data sets.

    Raises:
        ValueError: if they differ; the message names those that only one of them has.
    """
    train, val = train_set.class_names, val_set.class_names
    if train == val:
        return
    single = [name for name in dict.fromkeys((*train, *val)) if (name in train) != (name in val)]
    what = f'only one of them has {", ".join(single[:5])}' if single else 'their order differs'
    raise ValueError(
        f'{train_set.json_path} and {val_set.json_path} list different classes ({what}): give '
        "both files the same 'categories'"
    )


def check_depths(detector: Detector, settings: TrainSettings) -> None:
    """Look whether the detector has the depths that are to be evaluated.

    Raises:
        ValueError: if it lacks one.
    """
    for depth in settings.evaluate_depths:
        try:
            detector.depth_space.parse(depth)
        except ValueError as error:
            raise ValueError(f'evaluate_depths: {error}') from None


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

"""Settings of a training run, one field per key of the recipe files."""

from __future__ import annotations

from dataclasses import dataclass, field

from anydepth_core.data.augment import AugmentSettings
from anydepth_core.models.yolov12.criterion import DetectionGains
from anydepth_core.train.distill import DistillationSettings
from anydepth_core.train.optim import OptimizerSettings

PRECISIONS = ('float32', 'bfloat16', 'float16')


@dataclass(frozen=True)
class ModelSettings:
    """Which detector is trained.

    Attributes:
        name: model name, for example ``anydepth_yolov12n``.
        variant: block layout, ``orig`` or ``switch``.
    """

    name: str
    variant: str = 'orig'


@dataclass(frozen=True)
class DataSettings:
    """Files of the data set, relative to the data folder given on the command line.

    Attributes:
        train: COCO json of the training images.
        train_images: folder of the training images.
        val: COCO json of the validation images.
        val_images: folder of the validation images.
        cache: keep decoded images in memory.
    """

    train: str = 'train.json'
    train_images: str = 'train'
    val: str = 'val.json'
    val_images: str = 'val'
    cache: bool = True


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses.

    Attributes:
        alpha_base: weight of the ground truth in the base pass; the distillation has the rest.
        detection: weights of the detection loss.
        distillation: temperatures and weights of the distillation loss.
    """

    alpha_base: float = 0.2
    detection: DetectionGains = field(default_factory=DetectionGains)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)


@dataclass(frozen=True)
class TrainSettings:
    """A recipe.

    Attributes:
        model: which detector.
        data: which files.
        image_size: (height, width) of the network input, multiples of 32.
        epochs: epochs in all.
        plain_epochs: how many of the last epochs run without mosaic and at ``image_size``.
        random_sizes: sides of square inputs drawn per batch before the plain epochs; empty for
            ``image_size``.
        batch_size: images per step.
        seed: seed of weights, order and augmentation.
        precision: ``float32``, ``bfloat16`` or ``float16`` (the losses are always float32).
        workers: data loading processes.
        clip_norm: largest norm of the gradient.
        ema_decay: final decay of the averaged weights.
        evaluate_every: epochs between evaluations at full and base.
        augment: augmentation.
        optimizer: optimiser and schedule.
        loss: weights of the losses.
    """

    model: ModelSettings
    data: DataSettings = field(default_factory=DataSettings)
    image_size: tuple[int, int] = (640, 640)
    epochs: int = 100
    plain_epochs: int = 10
    random_sizes: tuple[int, ...] = ()
    batch_size: int = 16
    seed: int = 0
    precision: str = 'float32'
    workers: int = 2
    clip_norm: float = 10.0
    ema_decay: float = 0.9999
    evaluate_every: int = 1
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    loss: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.precision not in PRECISIONS:
            raise ValueError(f'precision is {self.precision!r}; allowed: {", ".join(PRECISIONS)}')
        if any(side % 32 or side < 32 for side in (*self.image_size, *self.random_sizes)):
            raise ValueError('image_size and random_sizes must be multiples of 32')
        for name in ('epochs', 'batch_size', 'evaluate_every'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}; at least 1 is needed')

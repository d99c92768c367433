"""Settings of a training run, one field per key of the recipe files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from anydepth_core.data.augment import AugmentSettings
from anydepth_core.train.optim import OptimizerSettings

PRECISIONS = ('float32', 'bfloat16', 'float16')
PASSES = ('both', 'full', 'base')
ENDS = ('full', 'base')
"""Depths that every run evaluates and keeps the best weights of."""


@dataclass(frozen=True)
class ModelSettings:
    """Which detector is trained.

    Attributes:
        name: model name, for example ``anydepth_yolov12n``.
        variant: block layout; None for the usual one of the model.
    """

    name: str
    variant: str | None = None


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
class AblationSettings:
    """What is left out of the method, for comparisons.

    Attributes:
        passes: ``both``; ``full`` or ``base`` train one depth only, against the ground truth, as
            the ordinary detector of that size.
        shared_norms: base runs with the norms of full instead of its own.
    """

    passes: str = 'both'
    shared_norms: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown passes."""
        if self.passes not in PASSES:
            raise ValueError(f'ablation.passes is {self.passes!r}; allowed: {", ".join(PASSES)}')


@dataclass(frozen=True)
class TrainSettings:
    """A recipe.

    Attributes:
        model: which detector.
        init: checkpoint to start from, in any form that ``anydepth convert`` reads, or bundle;
            tensors that depend on the number of classes may differ and then start fresh. Empty to
            start from random weights.
        data: which files.
        image_size: (height, width) of the network input, multiples of 32.
        epochs: epochs in all.
        plain_epochs: how many of the last epochs show single images, at ``image_size``.
        random_sizes: sides of square inputs drawn per batch before the plain epochs, more often
            if named more often; empty for ``image_size``.
        batch_size: images that a process runs at once.
        accumulate: batches whose gradients add up to one step of the optimiser; those that make
            no whole step at the end of an epoch are left out.
        seed: seed of weights, order and augmentation.
        precision: ``float32``, ``bfloat16`` or ``float16`` (the losses are always float32).
        workers: data loading processes of each training process.
        clip_norm: largest norm of the gradient.
        ema_decay: final decay of the averaged weights.
        ema_ramp: steps after which the decay has reached 63 % of that.
        evaluate_every: epochs between evaluations.
        evaluate_depths: depths that are evaluated; full and base among them.
        patience: end after so many evaluations without a better mean AP; 0 for never.
        save_minutes: how often the state is saved within an epoch; 0 for after every step.
        deterministic: refuse operations whose result changes from run to run; slower on GPUs.
        sample_depths: share of the steps in which the base pass runs a depth drawn from all those
            between full and base.
        augment: augmentation.
        optimizer: optimiser and schedule.
        loss: what the losses of the detector's family are built from, see ``families``; None for
            the defaults.
        ablation: what is left out, for comparisons.
    """

    model: ModelSettings
    init: str = ''
    data: DataSettings = field(default_factory=DataSettings)
    image_size: tuple[int, int] = (640, 640)
    epochs: int = 100
    plain_epochs: int = 10
    random_sizes: tuple[int, ...] = ()
    batch_size: int = 16
    accumulate: int = 1
    seed: int = 0
    precision: str = 'float32'
    workers: int = 2
    clip_norm: float = 10.0
    ema_decay: float = 0.9999
    ema_ramp: float = 2000
    evaluate_every: int = 1
    evaluate_depths: tuple[str, ...] = ENDS
    patience: int = 0
    save_minutes: float = 10.0
    deterministic: bool = False
    sample_depths: float = 0.0
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    loss: Any = None
    ablation: AblationSettings = field(default_factory=AblationSettings)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.precision not in PRECISIONS:
            raise ValueError(f'precision is {self.precision!r}; allowed: {", ".join(PRECISIONS)}')
        if any(side % 32 or side < 32 for side in (*self.image_size, *self.random_sizes)):
            raise ValueError('image_size and random_sizes must be multiples of 32')
        for name in ('epochs', 'batch_size', 'accumulate', 'evaluate_every'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}; at least 1 is needed')
        for name in ('clip_norm', 'ema_ramp'):
            if not getattr(self, name) > 0:
                raise ValueError(f'{name} is {getattr(self, name)}; more than 0 is needed')
        if not set(ENDS) <= set(self.evaluate_depths):
            raise ValueError(
                f'evaluate_depths is {", ".join(self.evaluate_depths)}; full and base must be '
                'among them'
            )
        for name in ('patience', 'save_minutes'):
            if not getattr(self, name) >= 0:
                raise ValueError(f'{name} is {getattr(self, name)}; at least 0 is needed')
        if not 0 <= self.sample_depths <= 1:
            raise ValueError(f'sample_depths is {self.sample_depths}; a share in 0..1 is needed')
        if self.sample_depths and self.ablation.passes != 'both':
            raise ValueError(
                f'sample_depths is {self.sample_depths}, but ablation.passes is '
                f'{self.ablation.passes}: a depth in between learns from the full pass, so leave '
                'one of them out'
            )

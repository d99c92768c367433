"""Whether re-estimated norms help the depths that were not trained.

One set of statistics for all depths is compared with a set of its own for every depth, which is
what ``anydepth calibrate`` gives to the levels of a ladder where it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from anydepth_core.data.coco import CocoDataset
from anydepth_core.depth import DepthConfig
from anydepth_core.evaluation.experiments.matrix import Run, Study
from anydepth_core.evaluation.experiments.measure import depths_of, Meter, open_run
from anydepth_core.evaluation.experiments.results import OWN, OWN_AUGMENTED, Point
from anydepth_core.evaluation.recalibrate import (
    augmented_batches_of,
    batches_of,
    evenly,
    recalibrate,
)
from anydepth_core.models.detector import Detector
from anydepth_core.train.recipe import load_recipe
from anydepth_core.train.settings import TrainSettings

Batches = Callable[[], Iterable[torch.Tensor]]


@dataclass(frozen=True)
class Estimate:
    """A way to estimate the statistics of norms.

    Attributes:
        depths: depths that the images run at.
        augmented: images as the plain epochs of the training show them, instead of as evaluation
            does.
        base_only: each ``norm_base`` and no other norm.
    """

    depths: tuple[DepthConfig | str, ...]
    augmented: bool = False
    base_only: bool = False


def estimates_of(detector: Detector, depths: Sequence[DepthConfig]) -> dict[str, Estimate]:
    """Return estimates that give all depths together one set of statistics.

    Args:
        detector: the detector.
        depths: depths that are measured.
    """
    mixed = tuple(detector.depth_space.ends_and_halves())
    return {
        'base': Estimate(('base',), base_only=True),
        'all': Estimate(('full', 'base')),
        'base, augmented': Estimate(('base',), augmented=True, base_only=True),
        'mixed, augmented': Estimate(mixed, augmented=True),
        'ladder': Estimate(tuple(depths)),
        'ladder, augmented': Estimate(tuple(depths), augmented=True),
    }


def measure_norms(
    study_name: str, study: Study, run: Run, data: Path, count: int = 256
) -> list[Point]:
    """Measure a finished run at the reported split with every estimate of its norms.

    Where one depth is trained there is one way to estimate, on images that run at that depth.

    Args:
        study_name: name of the data set.
        study: the data set.
        run: the run.
        data: folder that the data paths start from.
        count: how many training images estimate the norms.
    """
    detector, meters = open_run(study_name, study, run, data)
    depths = depths_of(detector, run, meters[study.chosen_by])
    meter = meters[study.reported]
    settings = load_recipe(run.file('yaml'))
    images = {
        augmented: training_batches(settings, detector, data, meter, count, augmented)
        for augmented in (False, True)
    }
    points = [meter.point(detector, label, depth) for label, depth in depths.items()]
    together = {} if len(depths) == 1 else estimates_of(detector, list(depths.values()))
    for name, estimate in together.items():
        one = _estimated(detector, images[estimate.augmented], estimate)
        points += [meter.point(one, label, depth, norms=name) for label, depth in depths.items()]
    for augmented, name in ((False, OWN), (True, OWN_AUGMENTED)):
        for label, depth in depths.items():
            one = _estimated(detector, images[augmented], Estimate((depth,)))
            points.append(meter.point(one, label, depth, norms=name))
    return points


def _estimated(detector: Detector, images: Batches, estimate: Estimate) -> Detector:
    """Return a copy with other norms."""
    one = copy.deepcopy(detector)
    recalibrate(one, images(), estimate.depths, estimate.base_only)
    return one


def training_batches(
    settings: TrainSettings,
    detector: Detector,
    data: Path,
    meter: Meter,
    count: int,
    augmented: bool,
) -> Batches:
    """Return a function that yields batches of training images, the same ones each time."""
    files = settings.data
    dataset = CocoDataset(data / files.train, data / files.train_images)
    names = [image['file_name'] for image in dataset.coco_dict['images']]
    paths = [data / files.train_images / name for name in evenly(names, count)]
    if not augmented:
        return lambda: batches_of(paths, [meter.size], detector.resize)
    return lambda: augmented_batches_of(paths, meter.size, detector.resize, settings.augment)

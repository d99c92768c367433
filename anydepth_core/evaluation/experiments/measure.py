"""AP of a finished run at the depths that were trained and at those between."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
import torch

from anydepth_core.checkpoint.io import load_checkpoint, load_weights, read_metadata
from anydepth_core.data.coco import CocoDataset
from anydepth_core.depth import DepthConfig, DepthSpace
from anydepth_core.evaluation.counting import count_multiply_adds
from anydepth_core.evaluation.evaluator import evaluate
from anydepth_core.evaluation.experiments.matrix import Run, Study, VARIANTS
from anydepth_core.evaluation.experiments.results import AVERAGED, LAST, Point, TRAINED
from anydepth_core.evaluation.ladder_search import nested_depths, one_refinement_less
from anydepth_core.evaluation.torch_predict import torch_predict
from anydepth_core.models.detector import Detector

Depths = Mapping[str, DepthConfig]


class Meter:
    """Measures detectors of one run at one split.

    Args:
        study: name of the data set.
        run: the run.
        split: name of the split.
        dataset: its images.
        size: (height, width) of the network input.
    """

    def __init__(
        self, study: str, run: Run, split: str, dataset: CocoDataset, size: tuple[int, int]
    ) -> None:
        self.study, self.run, self.split = study, run, split
        self.dataset, self.size = dataset, size

    def point(
        self,
        detector: Detector,
        label: str,
        depth: DepthConfig,
        weights: str = AVERAGED,
        norms: str = TRAINED,
    ) -> Point:
        """Measure one depth, in float32."""
        found = evaluate(torch_predict(detector, depth, self.size), self.dataset, progress=False)
        cost = count_multiply_adds(detector, depth, self.size)['plain']
        return Point(
            self.study,
            self.run.variant,
            self.run.seed,
            self.split,
            weights,
            norms,
            label,
            detector.depth_space.format(depth),
            cost,
            found['AP'],
            found['AP50'],
        )


def open_run(
    study_name: str, study: Study, run: Run, data: Path
) -> tuple[Detector, dict[str, Meter]]:
    """Return the averaged detector of a finished run, and a meter for each split."""
    path = run.folder / 'last.safetensors'
    height, width = read_metadata(path)['image_size']
    meters = {
        name: Meter(
            study_name, run, name, CocoDataset(data / json, data / folder), (height, width)
        )
        for name, (json, folder) in study.splits.items()
    }
    return load_checkpoint(path), meters


def measure(study_name: str, study: Study, run: Run, data: Path) -> list[Point]:
    """Measure a run at every split, averaged weights at all depths, last ones at the ends.

    Raises:
        ValueError: if the run is not finished, or its files are damaged.
    """
    detector, meters = open_run(study_name, study, run, data)
    depths = depths_of(detector, run, meters[study.chosen_by])
    points = [
        meter.point(detector, label, depth)
        for meter in meters.values()
        for label, depth in depths.items()
    ]
    load_weights(detector, last_weights(run.folder / 'state.safetensors'))
    ends = {label: depth for label, depth in depths.items() if label in ('full', 'base')}
    return points + [
        meter.point(detector, label, depth, weights=LAST)
        for meter in meters.values()
        for label, depth in ends.items()
    ]


def depths_of(detector: Detector, run: Run, meter: Meter) -> dict[str, DepthConfig]:
    """Return the depths to measure, by label.

    Where both ends are trained these are full, base, the two halves, and two depths of the chain
    that leaves out first what loses least AP for its cost, found with the meter's images.
    """
    space = detector.depth_space
    trained = VARIANTS[run.variant].depths
    if trained is not None:
        return {name: space.parse(name) for name in trained}
    full, backbone, neck, base = detector.depth_space.ends_and_halves()
    middle = {space.format(depth): depth for depth in (backbone, neck)}
    return {'full': full, **middle, **guided(detector, space, meter), 'base': base}


def guided(detector: Detector, space: DepthSpace, meter: Meter) -> dict[str, DepthConfig]:
    """Return the depths after one and two thirds of the guided chain, by how many are left out."""

    def cost_and_ap(depth: DepthConfig) -> tuple[float, float]:
        point = meter.point(detector, '', depth)
        return point.multiply_adds, point.ap

    without = [cost_and_ap(depth) for depth in one_refinement_less(space)]
    chain = nested_depths(space, cost_and_ap(space.full), without)
    left_out = (len(space.stages) // 3, 2 * len(space.stages) // 3)
    return {f'guided -{count}': chain[count] for count in left_out}


def last_weights(state: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the detector from the state of a training run, not averaged.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    prefix = 'detector/'
    try:
        with safe_open(str(state), framework='pt') as file:
            keys = list(file.keys())
            return {
                key[len(prefix) :]: file.get_tensor(key) for key in keys if key.startswith(prefix)
            }
    except Exception as error:
        raise ValueError(
            f'{state} is no readable state of a training run ({error}): train this run again'
        ) from None

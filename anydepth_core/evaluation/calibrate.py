"""Measure the operating points of a detector and choose its ladder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import math

import onnx

from anydepth_core.data.coco import CocoDataset
from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.evaluation.complexity import multiply_adds
from anydepth_core.evaluation.evaluator import detect_all
from anydepth_core.evaluation.ladder_search import (
    choose_levels,
    Measured,
    nested_depths,
    one_refinement_less,
    pareto_front,
)
from anydepth_core.evaluation.latency import Latency
from anydepth_core.evaluation.size_and_class import Breakdown, breakdown
from anydepth_core.evaluation.torch_predict import torch_predict
from anydepth_core.export.onnx_export import with_norms
from anydepth_core.export.point_norms import Norms
from anydepth_core.export.specialise import specialise
from anydepth_core.models.detector import Detector

LEAST_GAIN = 0.002
"""AP that the own norms of an operating point must gain; less is noise on some hundred images."""

Size = tuple[int, int]
Key = tuple[DepthConfig, Size]
Estimator = Callable[[DepthConfig, Size], Norms]
"""Estimates the statistics of the norms at an operating point."""


class Bench:
    """Measures operating points of a detector on a data set, each one once.

    A point is measured with the norms as trained and, given an estimator, with its own. It gets
    its own if they gain at least ``LEAST_GAIN``.

    Attributes:
        measured: what is measured so far, in the order of measuring, with the norms it got.
        figures: all figures of these points, by depth and size.
        trained: AP of these points with the norms as trained.
        own: AP of these points with their own norms, whether they got them or not.
        norms: statistics of the points that got their own.
    """

    def __init__(
        self,
        detector: Detector,
        master: onnx.ModelProto,
        dataset: CocoDataset,
        estimate: Estimator | None = None,
        progress: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Take what is measured.

        Args:
            detector: detector in evaluation mode, not changed while it is measured.
            master: master ONNX of a detector with the same layers; multiply-adds are counted in
                it, so its values do not matter.
            dataset: images and annotations with the classes of the detector.
            estimate: gives a point its own norms; None to leave all as trained.
            progress: called with the name of each point that is about to be measured.
        """
        self.detector = detector
        self.master = master
        self.dataset = dataset
        self.measured: list[Measured] = []
        self.figures: dict[Key, Breakdown] = {}
        self.trained: dict[Key, float] = {}
        self.own: dict[Key, float] = {}
        self.norms: dict[Key, Norms] = {}
        self._estimate = estimate
        self._progress = progress

    def measure(self, depth: DepthConfig, size: Size) -> Measured:
        """Return AP and multiply-adds of an operating point; measured before, it costs nothing."""
        for known in self.measured:
            if (known.point.depth, known.point.image_size) == (depth, size):
                return known
        self._progress(f'{self.detector.depth_space.format(depth)}@{format_size(size)}')
        figures = self._best(depth, size)
        graph = specialise(self.master, depth.stages, size, depth.decoder_layers)
        cost = multiply_adds(graph)['total']
        names = ('AP', 'AP50', 'AR_100', 'AP_small', 'AP_medium', 'AP_large')
        known_figures = {
            name: round(figures.statistics[name], 4)
            for name in names
            if not math.isnan(figures.statistics[name])
        }
        point = OperatingPoint(depth, size, (*known_figures.items(), ('multiply_adds', cost)))
        result = Measured(point, cost, figures.statistics['AP'])
        self.figures[depth, size] = figures
        self.measured.append(result)
        return result

    def _best(self, depth: DepthConfig, size: Size) -> Breakdown:
        """Figures with the norms that the point gets."""
        trained = self.accuracy(self.detector, depth, size)
        before = self.trained[depth, size] = trained.statistics['AP']
        if self._estimate is None:
            return trained
        norms = self._estimate(depth, size)
        own = self.accuracy(with_norms(self.detector, norms), depth, size)
        after = self.own[depth, size] = own.statistics['AP']
        if not after >= before + LEAST_GAIN:
            return trained
        self.norms[depth, size] = norms
        return own

    def accuracy(self, detector: Detector, depth: DepthConfig, size: Size) -> Breakdown:
        """Return all figures of a detector at an operating point."""
        results = detect_all(torch_predict(detector, depth, size), self.dataset, progress=False)
        return breakdown(self.dataset.coco_dict, results, self.dataset.image_ids)

    def of(self, points: Sequence[Measured]) -> list[Breakdown]:
        """Return the figures of points that were measured."""
        return [self.figures[entry.point.depth, entry.point.image_size] for entry in points]


@dataclass(frozen=True)
class Search:
    """Which operating points are measured, and how many levels are kept.

    Attributes:
        sizes: input sizes (height, width); the largest is where depths are compared first.
        levels: of the ladder.
        depths: depths to cross with the sizes; None for a chain from full to base, made by
            leaving out first what loses least (guided search).
        floor_ap: points below are no candidates for a level.
    """

    sizes: tuple[Size, ...]
    levels: int = 5
    depths: tuple[DepthConfig, ...] | None = None
    floor_ap: float = 0.0

    def run(self, bench: Bench) -> list[Measured]:
        """Measure and return the levels, cheapest first.

        Raises:
            ValueError: if no point reaches the floor.
        """
        sizes = sorted(set(self.sizes), key=math.prod, reverse=True)
        depths = self.depths or _guided(bench, sizes[0])
        points = [bench.measure(depth, size) for size in sizes for depth in depths]
        if self.depths is None:
            points = bench.measured  # what guided the search, too
        front = [point for point in pareto_front(points) if point.ap >= self.floor_ap]
        if not front:
            best = max((p.ap for p in points if not math.isnan(p.ap)), default=math.nan)
            raise ValueError(
                f'no operating point reaches AP {self.floor_ap:g}, the best has {best:.3f}: '
                'give a lower --floor-ap'
            )
        return choose_levels(front, self.levels)


@dataclass(frozen=True)
class Calibration:
    """What was measured and chosen.

    Attributes:
        bench: all points.
        ladder: the chosen levels, cheapest first.
        latency: of points that were timed, by depth and size.
    """

    bench: Bench
    ladder: list[Measured]
    latency: Mapping[Key, Latency]

    @property
    def space(self) -> DepthSpace:
        """The depths of the detector."""
        return self.bench.detector.depth_space


def format_size(size: Size) -> str:
    """Return a size as options take it: ``320`` or ``256x384``."""
    return str(size[0]) if size[0] == size[1] else f'{size[0]}x{size[1]}'


def _guided(bench: Bench, size: Size) -> list[DepthConfig]:
    """Chain of depths from full to base, found at one size, and the two halves."""
    space = bench.detector.depth_space
    full = bench.measure(space.full, size)
    without = [bench.measure(depth, size) for depth in one_refinement_less(space)]
    chain = nested_depths(space, (full.cost, full.ap), [(w.cost, w.ap) for w in without])
    return list(dict.fromkeys((*chain, *space.ends_and_halves())))

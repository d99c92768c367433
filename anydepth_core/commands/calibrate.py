"""``anydepth calibrate``: a measured ladder with norms of its own, as a new bundle."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
import logging
from pathlib import Path
import sys
import tempfile
from typing import Any, TYPE_CHECKING

import numpy as np

from anydepth_core.commands.calibration_report import picture_of, read_peers, report, to_csv
from anydepth_core.commands.export import export_bundle, parse_size
from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.files import write_atomically
from anydepth_core.structures import Timing

if TYPE_CHECKING:
    import onnx

    from anydepth_core.data.augment import AugmentSettings
    from anydepth_core.data.coco import CocoDataset
    from anydepth_core.evaluation.calibrate import Calibration, Estimator, Key, Search
    from anydepth_core.evaluation.latency import Latency
    from anydepth_core.export.point_norms import Norms
    from anydepth_core.models.detector import Detector
    from anydepth_core.runtime.pipeline import Pipeline

logger = logging.getLogger(__name__)

HELP = 'measure operating points, give them norms of their own, write a bundle with a ladder'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        'source', help="bundle directory, 'default', or checkpoint of anydepth train"
    )
    parser.add_argument('--data', required=True, type=Path, help='COCO json to measure AP on')
    parser.add_argument('--images', required=True, type=Path, help='folder of its images')
    parser.add_argument(
        '--calibration-images',
        type=Path,
        metavar='DIR',
        help='folder of training images for the norms; without it they stay as trained',
    )
    parser.add_argument('--output', required=True, type=Path, help='directory of the new bundle')
    parser.add_argument(
        '--calibration-count', type=int, default=256, metavar='N', help='images (%(default)s)'
    )
    parser.add_argument(
        '--sizes',
        help='comma-separated input sizes; default: 1, 0.8 and 0.7 of the size of the source',
    )
    parser.add_argument(
        '--depths',
        default='guided',
        help="'guided' (a chain from full to base that leaves out first what loses least), "
        "'all', or comma-separated depths (%(default)s)",
    )
    parser.add_argument('--levels', type=int, default=5, help='of the ladder (%(default)s)')
    parser.add_argument(
        '--keep-ladder',
        action='store_true',
        help='keep the levels of the source, a bundle, and give them norms and figures only',
    )
    parser.add_argument(
        '--floor-ap', type=float, default=0.0, metavar='AP', help='no level below it (%(default)s)'
    )
    parser.add_argument('--limit', type=int, metavar='N', help='measure on the first N images')
    parser.add_argument(
        '--runs',
        type=int,
        default=30,
        metavar='N',
        help='timed runs of each point that no other beats, 0 for none (%(default)s)',
    )
    parser.add_argument(
        '--threads', type=int, default=1, help='of ONNX Runtime when timed (%(default)s)'
    )
    parser.add_argument(
        '--device',
        help='torch device that estimates norms and measures AP; default: the GPU where there is '
        'one (times are those of the processor)',
    )
    parser.add_argument('--picture', type=Path, metavar='PNG', help='draw AP against cost')
    parser.add_argument(
        '--peers',
        type=Path,
        metavar='CSV',
        help='other detectors for the picture: name, AP, multiply_adds, inference_ms',
    )
    parser.add_argument('--csv', type=Path, help='write every measured point')


def run(args: argparse.Namespace) -> int:
    """Calibrate, print the tables, write the bundle and what else is asked for.

    The bundle is written as a whole when all is measured; before that nothing is.

    Raises:
        ValueError: if the source, the data or an option is not legal.
        RuntimeError: if a package is missing or ONNX and torch differ.
    """
    if args.levels < 2 or args.runs < 0 or args.calibration_count < 16:
        raise ValueError('give at least 2 --levels, 0 --runs and 16 --calibration-count')
    if args.picture is not None and find_spec('matplotlib') is None:
        raise RuntimeError('--picture needs matplotlib: pip install "anydepth-ros[demo]"')
    try:
        from anydepth_core.evaluation.calibrate import Search
    except ImportError as error:
        raise RuntimeError(
            f'calibrate needs torch and friends ({error}): see "Training" in the README'
        ) from None
    from anydepth_core.data.coco import CocoDataset
    from anydepth_core.nn.device import torch_device

    device = torch_device(args.device)
    peers = {} if args.peers is None else read_peers(args.peers)
    detector, facts, size, levels = read_source(args.source)
    if args.keep_ladder and not levels:
        raise ValueError(f'{args.source} is no bundle, so it has no ladder to keep: give a bundle')
    if args.calibration_images is None and facts.get('calibration', {}).get('own_norms'):
        logger.warning(
            '%s has norms of its own for single operating points, and the new bundle gets none: '
            'give --calibration-images to estimate them anew',
            args.source,
        )
    kept = levels if args.keep_ladder else ()
    search = Search(
        parse_sizes(args.sizes, size),
        args.levels,
        parse_depths(detector.depth_space, args.depths),
        args.floor_ap,
    )
    dataset = CocoDataset(args.data, args.images, limit=args.limit)
    if list(dataset.class_names) != facts['class_names']:
        raise ValueError(f'{args.data} lists other classes than {args.source}')
    calibration = _calibrate(detector.to(device), facts, search, kept, size, dataset, args)
    print(report(calibration))
    bench, points = calibration.bench, [entry.point for entry in calibration.ladder]
    # what the depths "full" and "base" run at is served too, on the ladder or not
    served = {(point.depth, point.image_size) for point in points}
    served |= {(depth, size) for depth in (detector.depth_space.full, detector.depth_space.base)}
    norms = {key: own for key, own in bench.norms.items() if key in served}
    facts['calibration'] = {
        'images': len(dataset),
        'points_measured': len(bench.measured),
        'own_norms': len(norms),
    }
    export_bundle(bench.detector.cpu(), facts, points, size, args.output, norms=norms)
    if args.csv is not None:
        write_atomically(args.csv, to_csv(calibration).encode())
    if args.picture is not None:
        from anydepth_core.evaluation.ladder_picture import draw

        draw(picture_of(calibration, peers), args.picture)
    return 0


def _calibrate(
    detector: Detector,
    facts: Mapping[str, Any],
    search: Search,
    kept: Sequence[OperatingPoint],
    size: tuple[int, int],
    dataset: CocoDataset,
    args: argparse.Namespace,
) -> Calibration:
    """Measure, and choose the ladder; a ladder that is kept is measured only."""
    from tqdm import tqdm

    from anydepth_core.evaluation.calibrate import Bench, Calibration
    from anydepth_core.evaluation.ladder_search import pareto_front
    from anydepth_core.export.onnx_export import build_master, load_master_weights

    # from here on the weights are those that the bundle will hold
    master = build_master(detector)
    load_master_weights(detector, master)
    estimate = None
    if args.calibration_images is not None:
        estimate = norms_estimator(detector, augmentation_of(facts), args)
    with tqdm(desc='measuring', unit='point', leave=False, disable=None) as bar:

        def progress(name: str) -> None:
            if bar.disable:  # no terminal: a log shall not be silent for half an hour
                print(f'measuring {name}', file=sys.stderr, flush=True)
            bar.set_postfix_str(name)
            bar.update()

        bench = Bench(detector, master, dataset, estimate, progress)
        if kept:
            ladder = [bench.measure(point.depth, point.image_size) for point in kept]
        else:
            ladder = search.run(bench)
        for depth in (detector.depth_space.full, detector.depth_space.base):
            bench.measure(depth, size)
    front = [entry.point for entry in pareto_front(bench.measured)]
    latency = time_points(detector, master, front, args.runs, args.threads)
    return Calibration(bench, ladder, latency)


def norms_estimator(
    detector: Detector, augment: AugmentSettings | None, args: argparse.Namespace
) -> Estimator:
    """Return what estimates the statistics of a detector's norms at an operating point.

    Images are varied as the last epochs of the training did: weights were trained behind the
    statistics of such images. Where the augmentation is not known they are as in evaluation.

    Raises:
        ValueError: if there are no calibration images; when called, if one is not readable.
    """
    from anydepth_core.evaluation.recalibrate import (
        augmented_batches_of,
        batches_of,
        image_files,
        statistics_at,
    )

    files = image_files(args.calibration_images, args.calibration_count)

    def estimate(depth: DepthConfig, size: tuple[int, int]) -> Norms:
        if augment is None:
            images = batches_of(files, [size], detector.resize)
        else:
            images = augmented_batches_of(files, size, detector.resize, augment)
        return statistics_at(detector, images, depth)

    return estimate


def augmentation_of(facts: Mapping[str, Any]) -> AugmentSettings | None:
    """Return the augmentation of the recipe that a source states; None if it states none."""
    from anydepth_core.config import from_mapping
    from anydepth_core.data.augment import AugmentSettings

    try:
        return from_mapping(facts['recipe']['augment'], AugmentSettings)
    except (KeyError, TypeError, ValueError):
        return None


def time_points(
    detector: Detector,
    master: onnx.ModelProto,
    points: Sequence[OperatingPoint],
    runs: int,
    threads: int,
) -> dict[Key, Latency]:
    """Time operating points in ONNX Runtime, interleaved; none if there are no runs.

    Times depend on layers and sizes only: the values of the norms do not matter.
    """
    from tqdm import tqdm

    from anydepth_core.evaluation.latency import measure_interleaved
    from anydepth_core.export.bundle import write_bundle
    from anydepth_core.runtime.backends import RuntimeSettings
    from anydepth_core.runtime.pipeline import load_pipeline

    if not runs:
        return {}
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'master.onnx')
        path.write_bytes(master.SerializeToString())
        bundle = write_bundle(
            Path(folder, 'bundle'),
            master_path=path,
            model_name=detector.name,
            variant=detector.variant,
            space=detector.depth_space,
            class_names=[f'class {number}' for number in range(detector.num_classes)],
            image_size=points[0].image_size,
            ladder=points,
            resize=detector.resize,
            suppression=detector.suppression,
        )
        pipeline = load_pipeline(
            bundle.path, RuntimeSettings(threads=threads, max_points=len(points))
        )
        try:
            with tqdm(total=runs, desc='timing', unit='round', leave=False, disable=None) as bar:
                timed = measure_interleaved(
                    [partial(_timing, pipeline, image, point) for point in points],
                    runs,
                    progress=bar.update,
                )
        finally:
            pipeline.close()
    return {(point.depth, point.image_size): one for point, one in zip(points, timed)}


def _timing(pipeline: Pipeline, image: np.ndarray, point: OperatingPoint) -> Timing:
    return pipeline(image, point)[1]


def read_source(
    source: str,
) -> tuple[Detector, dict[str, Any], tuple[int, int], Sequence[OperatingPoint]]:
    """Return the detector of a bundle or checkpoint, facts, input size, and levels of a bundle.

    Raises:
        ValueError: if it is neither, or states no input size or class names.
    """
    from anydepth_core.checkpoint.io import load_checkpoint, read_metadata
    from anydepth_core.evaluation.torch_predict import detector_of_bundle
    from anydepth_core.export.bundle import load_bundle

    if not Path(source).is_file():
        bundle = load_bundle(source)
        facts = {**bundle.metadata, 'class_names': list(bundle.class_names)}
        return detector_of_bundle(bundle), facts, bundle.image_size, bundle.ladder.points
    metadata = read_metadata(source)
    if 'image_size' not in metadata or 'class_names' not in metadata:
        raise ValueError(f'{source} states no image_size or class_names: export it to a bundle')
    height, width = metadata['image_size']
    return load_checkpoint(source), metadata, (height, width), ()


def parse_sizes(text: str | None, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Read input sizes; without a text 1, 0.8 and 0.7 of one size, rounded to multiples of 32.

    Raises:
        ValueError: if a size is not legal.
    """
    if text is not None:
        return tuple(dict.fromkeys(parse_size(word) for word in text.split(',')))
    height, width = (
        [max(32, round(side * share / 32) * 32) for share in (1, 0.8, 0.7)] for side in size
    )
    return tuple(dict.fromkeys(zip(height, width)))


def parse_depths(space: DepthSpace, text: str) -> tuple[DepthConfig, ...] | None:
    """Read what ``--depths`` takes; None for the guided search.

    Raises:
        ValueError: if a depth is not legal.
    """
    if text == 'guided':
        return None
    if text == 'all':
        return tuple(dict.fromkeys((*space.all(), space.base)))
    return tuple(dict.fromkeys(space.parse(word) for word in text.split(',')))

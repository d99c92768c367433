"""`anydepth benchmark`: time every ladder level, and show what leaving refinements out saves.

With ``--node`` the running detector node is measured instead, with ``--contention`` the closed
loop of detector and controller.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from anydepth_core.commands.export import parse_size
from anydepth_core.commands.runtime_options import (
    add_runtime_arguments,
    describe,
    runtime_settings,
)
from anydepth_core.depth import OperatingPoint
from anydepth_core.structures import Timing

if TYPE_CHECKING:
    from anydepth_core.evaluation.latency import Latency
    from anydepth_core.export.bundle import Bundle
    from anydepth_core.runtime.level_graphs import LevelGraphs
    from anydepth_core.runtime.pipeline import Pipeline

HELP = 'time every ladder level of a bundle, step by step, or with --node the running node'

_NODE_OPTIONS = (
    'image_size',
    'rate',
    'overload',
    'seconds',
    'reliability',
    'profile',
    'encoding',
    'depth',
    'detections',
    'output',
    'contention',
    'deadline',
    'rounds',
)
"""Options that need ``--node``; their defaults stand in ``NodeSettings``."""

_CONTENTION_OPTIONS = ('deadline', 'rounds')
_NOT_WITH_CONTENTION = ('overload', 'depth')

_HEADING = (
    'level',
    'depth',
    'size',
    'preprocess',
    'inference',
    'postprocess',
    'total',
    'multiply-adds',
    'time/dearest',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        'bundle',
        nargs='?',
        default='default',
        metavar='BUNDLE',
        help="bundle directory, or 'default' (%(default)s)",
    )
    parser.add_argument(
        '--model',
        metavar='NAME',
        help='time a model with random weights instead, for example anydepth_rtdetr_r50; '
        'needs torch',
    )
    parser.add_argument(
        '--size', default='640', help='input size of --model, such as 640 or 384x640 (%(default)s)'
    )
    parser.add_argument(
        '--runs', type=int, default=50, metavar='N', help='timed runs per depth (%(default)s)'
    )
    parser.add_argument(
        '--depths',
        help='comma-separated depths or levels instead of the whole ladder, full and base',
    )
    parser.add_argument('--image', metavar='FILE', help='picture to use instead of noise')
    add_runtime_arguments(parser, threads=1)
    _add_node_arguments(parser)


def _add_node_arguments(parser: argparse.ArgumentParser) -> None:
    node = parser.add_argument_group(
        'the running node',
        'detector_node in a process of its own, with a camera that sends images to it; needs '
        'ROS 2, and stays on this machine',
    )
    node.add_argument('--node', action='store_true', help='measure the node instead of the ladder')
    node.add_argument(
        '--image-size',
        metavar='WxH',
        help='width x height of the images, comma-separated for several runs (1280x720)',
    )
    pace = node.add_mutually_exclusive_group()
    pace.add_argument('--rate', type=float, metavar='HZ', help='images per second (30)')
    pace.add_argument(
        '--overload',
        type=float,
        metavar='N',
        help='send N times faster than the detector answered in the warm-up',
    )
    node.add_argument('--seconds', type=float, help='length of a run after the warm-up (20)')
    node.add_argument('--reliability', help='of the images: reliable or best_effort (reliable)')
    node.add_argument(
        '--profile',
        action='store_true',
        default=None,
        help='use the shared-memory profile config/fastdds_shm.xml in all processes',
    )
    node.add_argument('--encoding', help='of the images: bgr8, rgb8, bgra8, rgba8 or mono8 (bgr8)')
    node.add_argument('--depth', help='depth or level of the detector (full)')
    node.add_argument(
        '--detections',
        type=int,
        metavar='N',
        help='lower the threshold so that images have up to N detections',
    )
    node.add_argument('--output', metavar='FILE', help='write the figures there as JSON, too')
    _add_contention_arguments(parser)


def _add_contention_arguments(parser: argparse.ArgumentParser) -> None:
    loop = parser.add_argument_group(
        'the closed loop',
        'with --node: detector and controller while busy processes (hogs) are started and '
        'stopped, beside always full and always base; --seconds is the length of each phase, '
        '--output also writes a picture and every frame (CSV) beside the JSON',
    )
    loop.add_argument(
        '--contention',
        type=int,
        nargs='?',
        const=0,
        metavar='HOGS',
        help='measure that, with so many hogs (0 or no number: one per processor)',
    )
    loop.add_argument(
        '--deadline',
        type=float,
        metavar='MS',
        help='of the controller (derived from what frames take here)',
    )
    loop.add_argument('--rounds', type=int, metavar='N', help='of every policy (3)')


def run(args: argparse.Namespace) -> int:
    """Measure and print the table and the ratio of full to base, or the figures of the node.

    Raises:
        ValueError: if bundle, depths, image or numbers are not usable.
        RuntimeError: if ONNX Runtime is missing, or ROS with ``--node``.
    """
    from anydepth_core.export.bundle import load_bundle

    if args.runs < 1:
        raise ValueError(f'--runs {args.runs} is not legal: give 1 or more')
    _check_mode(args)
    report = _report_node if args.node else _report
    if args.model is None:
        return report(load_bundle(args.bundle), args)
    with tempfile.TemporaryDirectory() as folder:
        return report(random_bundle(args.model, parse_size(args.size), Path(folder)), args)


def _check_mode(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    given = [name for name in _NODE_OPTIONS if getattr(args, name) is not None]
    if given and not args.node:
        raise ValueError(f'--{given[0].replace("_", "-")} is for the running node: add --node')
    if args.node and args.depths is not None:
        raise ValueError('--depths is not for the running node: give one --depth')
    closed_loop = args.contention is not None
    for name in _NOT_WITH_CONTENTION if closed_loop else _CONTENTION_OPTIONS:
        if name in given:
            fix = f'leave --{name} out' if closed_loop else 'add --contention'
            raise ValueError(
                f'--{name} is {"not " if closed_loop else ""}for the closed loop: {fix}'
            )


def _report_node(bundle: Bundle, args: argparse.Namespace) -> int:
    from anydepth_ros.benchmark.run import benchmark_node
    from anydepth_ros.benchmark.settings import NodeSettings

    given = {name: getattr(args, name) for name in _NODE_OPTIONS}
    settings = NodeSettings(
        runtime=runtime_settings(args),
        **{name: value for name, value in given.items() if value is not None},
    )
    return benchmark_node(bundle, settings, None if args.image is None else _image(args.image))


def random_bundle(name: str, size: tuple[int, int], folder: Path) -> Bundle:
    """Write a bundle of a model with random weights and 80 classes; its ladder is base and full.

    Times do not depend on the weights, those of the postprocessing aside.

    Raises:
        ValueError: if there is no such model.
        RuntimeError: if torch is missing.
    """
    try:
        from anydepth_core.export.onnx_export import export_master
        from anydepth_core.models.build import build_detector
    except ImportError as error:
        raise RuntimeError(
            f'--model needs torch and friends ({error}): see "Training" in the README'
        ) from None
    from anydepth_core.export.bundle import write_bundle

    detector = build_detector(name).eval()
    export_master(detector, folder / 'master.onnx')
    space = detector.depth_space
    return write_bundle(
        folder / 'bundle',
        master_path=folder / 'master.onnx',
        model_name=detector.name,
        variant=detector.variant,
        space=space,
        class_names=[f'class {number}' for number in range(detector.num_classes)],
        image_size=size,
        ladder=[OperatingPoint(depth, size) for depth in (space.base, space.full)],
        resize=detector.resize,
        suppression=detector.suppression,
    )


def _report(bundle: Bundle, args: argparse.Namespace) -> int:
    from anydepth_core.runtime.backends import open_runtime
    from anydepth_core.runtime.level_graphs import LevelGraphs
    from anydepth_core.runtime.pipeline import Pipeline

    image = _image(args.image)
    points = _points(bundle, args.depths)
    settings = runtime_settings(args, max_points=len(points))
    runtime = open_runtime(bundle, settings)
    latencies = measure(Pipeline(bundle, runtime), points, image, args.runs)
    graphs = LevelGraphs(bundle)
    costs = [multiply_adds(graphs, point) for point in points]
    print(
        f'{bundle.model_name} ({bundle.variant}) on {describe(settings)}, '
        f'{args.runs} interleaved runs, {image.shape[1]}x{image.shape[0]} picture\n'
        'milliseconds, p50 / p95'
    )
    print(format_table(bundle, points, latencies, costs))
    print(format_ratio(bundle, points, latencies, costs))
    return 0


def measure(
    pipeline: Pipeline, points: Sequence[OperatingPoint], image: np.ndarray, runs: int
) -> list[Latency]:
    """Time each operating point ``runs`` times, interleaved, after warm-up."""
    from tqdm import tqdm

    from anydepth_core.evaluation.latency import measure_interleaved

    def candidate(point: OperatingPoint) -> Callable[[], Timing]:
        return lambda: pipeline(image, point)[1]

    for point in tqdm(points, desc='building', unit='depth', leave=False, disable=None):
        pipeline.prepare(point)
    with tqdm(total=runs, desc='measuring', unit='round', leave=False, disable=None) as bar:
        return measure_interleaved(
            [candidate(point) for point in points], runs, progress=bar.update
        )


def multiply_adds(graphs: LevelGraphs, point: OperatingPoint) -> float:
    """Multiply-adds of one image at an operating point, counted in the graph that runs."""
    from anydepth_core.evaluation.complexity import multiply_adds as count

    return float(count(graphs.graph(point))['total'])


def format_table(
    bundle: Bundle,
    points: Sequence[OperatingPoint],
    latencies: Sequence[Latency],
    costs: Sequence[float],
) -> str:
    """Return one aligned line per operating point, under a heading.

    The last column is the inference time over that of the point with the most multiply-adds.
    """
    from anydepth_core.evaluation.latency import STEPS

    dearest = latencies[int(np.argmax(costs))]
    lines: list[tuple[str, ...]] = [_HEADING]
    for point, latency, cost in zip(points, latencies, costs):
        level = bundle.ladder.level_of(point)
        steps = (
            f'{latency.percentile(s, 50):.2f} / {latency.percentile(s, 95):.2f}' for s in STEPS
        )
        lines.append(
            (
                '-' if level is None else str(level),
                bundle.space.format(point.depth),
                f'{point.image_size[0]}x{point.image_size[1]}',
                *steps,
                f'{cost / 1e6:.1f} M',
                f'{latency.ratio_to(dearest):.2f}',
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADING))]
    return '\n'.join(
        '  '.join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines
    )


def format_ratio(
    bundle: Bundle,
    points: Sequence[OperatingPoint],
    latencies: Sequence[Latency],
    costs: Sequence[float],
) -> str:
    """Return full to base as measured and as counted, and what the times are good for."""
    note = 'The times are for ratios on this machine; another machine or load gives other times.'
    keys = [(point.depth, point.image_size) for point in points]
    try:
        full = keys.index((bundle.space.full, bundle.image_size))
        base = keys.index((bundle.space.base, bundle.image_size))
    except ValueError:
        return f'full / base: not measured, --depths leaves one of them out.\n{note}'
    measured = latencies[full].ratio_to(latencies[base])
    return (
        f'full / base at {bundle.image_size[0]}x{bundle.image_size[1]}: '
        f'inference time {measured:.2f} (median of the rounds), '
        f'multiply-adds {costs[full] / costs[base]:.2f}\n{note}'
    )


def _points(bundle: Bundle, depths: str | None) -> list[OperatingPoint]:
    """Operating points to measure, each once: those asked for, or the ladder, base and full."""
    from anydepth_core.commands.evaluate import split_depths

    if depths is not None:
        points = [bundle.ladder.parse(word, bundle.image_size) for word in split_depths(depths)]
    else:
        ends = [bundle.ladder.parse(word, bundle.image_size) for word in ('base', 'full')]
        points = [*bundle.ladder.points, *ends]
    unique = {(point.depth, point.image_size): point for point in reversed(points)}
    return [
        point for point in points if unique.pop((point.depth, point.image_size), None) is not None
    ]


def _image(path: str | None) -> np.ndarray:
    from anydepth_core.commands.detect import read_image

    if path is None:
        return np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    image = read_image(Path(path)) if Path(path).is_file() else None
    if image is None:
        raise ValueError(f'--image {path} cannot be read as an image')
    return image

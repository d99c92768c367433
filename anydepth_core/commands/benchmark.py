"""`anydepth benchmark`: time every ladder level, and show what leaving refinements out saves.

With ``--node`` the running detector node is measured instead, with ``--contention`` the closed
loop of detector and controller.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from anydepth_core.commands.export import parse_size
from anydepth_core.commands.node_options import add_node_arguments, check_mode, node_options
from anydepth_core.commands.runtime_options import (
    add_bundle_argument,
    add_runtime_arguments,
    runtime_settings,
)
from anydepth_core.depth import OperatingPoint

if TYPE_CHECKING:
    from anydepth_core.evaluation.benchmark import BenchmarkReport
    from anydepth_core.export.bundle import Bundle

HELP = 'time every ladder level of a bundle, step by step, or with --node the running node'

_ENERGY_S = 10.0
_LONGEST_S = 3600.0
_MOST_POINTS = 64  # kept ready by a back end that has no bound of its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_bundle_argument(parser)
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
    parser.add_argument(
        '--energy-seconds',
        type=float,
        metavar='N',
        help='how long the energy of each depth is measured where the machine reads its own '
        f'power, 0 for not at all ({_ENERGY_S:g})',
    )
    parser.add_argument(
        '--output',
        metavar='FILE.json',
        help='write the figures there, too, and a picture of AP against latency beside it',
    )
    _add_peer_arguments(parser)
    add_runtime_arguments(parser, threads=1)
    add_node_arguments(parser)


def _add_peer_arguments(parser: argparse.ArgumentParser) -> None:
    peers = parser.add_argument_group(
        'other detectors',
        'in the same rounds, inference only, through ONNX Runtime with the same threads',
    )
    peers.add_argument(
        '--compare',
        action='append',
        default=[],
        metavar='[NAME=]FILE.onnx[:AP]',
        help='time this model, too; AP, from 0 to 1, puts it into the picture; may be repeated',
    )
    peers.add_argument(
        '--compare-size',
        metavar='SIZE',
        help='input size where the file leaves it open, such as 640 (that of the bundle)',
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print the table and the ratio of full to base, or the figures of the node.

    Raises:
        ValueError: if bundle, depths, image, peers or numbers are not usable.
        RuntimeError: if ONNX Runtime is missing, or ROS with ``--node``.
    """
    from anydepth_core.export.bundle import load_bundle

    _check(args)
    check_mode(args)
    report = _report_node if args.node else _report
    if args.model is None:
        return report(load_bundle(args.bundle), args)
    with tempfile.TemporaryDirectory() as folder:
        return report(random_bundle(args.model, parse_size(args.size), Path(folder)), args)


def _check(args: argparse.Namespace) -> None:
    if args.runs < 1:
        raise ValueError(f'--runs {args.runs} is not legal: give 1 or more')
    if args.energy_seconds is not None and not 0 <= args.energy_seconds <= _LONGEST_S:
        raise ValueError(
            f'--energy-seconds {args.energy_seconds:g} is not legal: give 0 to {_LONGEST_S:g}'
        )
    if args.output is not None and not args.node and Path(args.output).suffix != '.json':
        raise ValueError(f'--output {args.output} is not legal: give a name that ends in .json')


def _report_node(bundle: Bundle, args: argparse.Namespace) -> int:
    from anydepth_ros.benchmark.run import benchmark_node
    from anydepth_ros.benchmark.settings import NodeSettings

    settings = NodeSettings(runtime=runtime_settings(args), **node_options(args))
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
    from anydepth_core.evaluation.benchmark_run import Plan, run_benchmark
    from anydepth_core.evaluation.benchmark_table import format_report
    from anydepth_core.evaluation.peer import parse_peers
    from anydepth_core.runtime.backends import open_runtime

    peers = parse_peers(args.compare)
    size = bundle.image_size if args.compare_size is None else parse_size(args.compare_size)
    image = _image(args.image)
    settings = runtime_settings(args, max_points=_MOST_POINTS)
    runtime = open_runtime(bundle, settings)
    try:
        plan = Plan(
            points=_points(bundle, args.depths, runtime.capacity),
            runs=args.runs,
            image_bgr=image,
            peers=peers,
            peer_size=size,
            energy_s=_ENERGY_S if args.energy_seconds is None else args.energy_seconds,
        )
        report = run_benchmark(bundle, runtime, settings, plan)
    finally:
        runtime.close()
    print(format_report(report))
    if args.output is not None:
        _write(report, Path(args.output))
    return 0


def _write(report: BenchmarkReport, path: Path) -> None:
    """Write the JSON, and the picture beside it where there is an AP to draw."""
    from anydepth_core.evaluation.benchmark import write_report
    from anydepth_core.evaluation.benchmark_picture import can_draw, draw

    write_report(report, path)
    print(f'figures: {path}')
    if not can_draw(report):
        print('no picture: the bundle states no AP for what was measured')
        return
    try:
        draw(report, path.with_suffix('.png'))
    except ImportError as error:
        print(f'no picture: {error}')
        return
    print(f'picture: {path.with_suffix(".png")}')


def _points(bundle: Bundle, depths: str | None, capacity: int) -> list[OperatingPoint]:
    """Operating points to measure, each once: those asked for, or the ladder, base and full.

    Base and full beside the ladder are left out where the back end has no room for them.
    """
    from anydepth_core.commands.evaluate import split_depths

    if depths is not None:
        points = [bundle.ladder.parse(word, bundle.image_size) for word in split_depths(depths)]
    else:
        ends = [bundle.ladder.parse(word, bundle.image_size) for word in ('base', 'full')]
        beside = [point for point in ends if bundle.ladder.level_of(point) is None]
        room = max(0, capacity - len(bundle.ladder))
        points = [*bundle.ladder.points, *beside[:room]]
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
        raise ValueError(f'--image {path} cannot be read as an image: give a JPEG or PNG file')
    return image

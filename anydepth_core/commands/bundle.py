"""`anydepth bundle`: check a bundle before it goes to a robot, or say what is in it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from anydepth_core.depth import OperatingPoint

if TYPE_CHECKING:
    from anydepth_core.export.bundle import Bundle
    from anydepth_core.runtime.onnx_runtime import OnnxRuntime

HELP = 'check a bundle (verify) or say what is in it (show); needs no torch'

_HEADING = ('level', 'depth', 'size', 'AP', 'AP50', 'multiply-adds')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        'action',
        choices=('verify', 'show'),
        help='verify also builds every level and runs it once; show prints classes, ladder, files',
    )
    parser.add_argument(
        'bundle',
        nargs='?',
        default='default',
        metavar='DIR',
        help="bundle directory, or 'default' (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Verify or show.

    Raises:
        ValueError: if the bundle is refused; the message says why.
        RuntimeError: if onnx or ONNX Runtime is missing, or a level does not run.
    """
    from anydepth_core.export.bundle import load_bundle

    bundle = load_bundle(args.bundle)
    if args.action == 'show':
        print('\n'.join([*describe(bundle), *ladder_table(bundle), *file_list(bundle)]))
        return 0
    for level, text in enumerate(check_levels(bundle)):
        print(f'level {level}: {text} runs')
    print(f'{bundle.path} is sound')
    return 0


def describe(bundle: Bundle) -> list[str]:
    """Return what the bundle detects, and how."""
    height, width = bundle.image_size
    return [
        f'{bundle.model_name} ({bundle.variant}), {bundle.path}',
        f'{len(bundle.class_names)} classes: {", ".join(bundle.class_names)}',
        f'input {height}x{width} ({bundle.resize}), overlapping boxes: {bundle.suppression}',
    ]


def ladder_table(bundle: Bundle) -> list[str]:
    """Return one aligned line a level under a heading."""
    lines: list[tuple[str, ...]] = [_HEADING]
    for level, point in enumerate(bundle.ladder.points):
        metrics = dict(point.metrics)
        figures = [f'{metrics[name]:.3f}' if name in metrics else '-' for name in ('AP', 'AP50')]
        cost = metrics.get('multiply_adds')
        lines.append((str(level), *_names(bundle, point), *figures, _millions(cost)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADING))]
    return ['  '.join(map(str.rjust, line, widths)) for line in lines]


def file_list(bundle: Bundle) -> list[str]:
    """Return one line a file; what ``bundle.yaml`` does not list is not used."""
    used = {'bundle.yaml', *bundle.files}
    return [
        f'{path.name}: {path.stat().st_size / 1e3:.1f} kB{"" if path.name in used else ", unused"}'
        for path in sorted(bundle.path.iterdir())
        if path.is_file()
    ]


def check_levels(bundle: Bundle) -> Iterator[str]:
    """Build every level, run it once on noise and check what it gives.

    Yields:
        The name of each level that runs.

    Raises:
        ValueError: if a level does not keep the contract.
        RuntimeError: if ONNX Runtime is missing or a level does not run.
    """
    from anydepth_core.runtime.backends import RuntimeSettings
    from anydepth_core.runtime.onnx_runtime import OnnxRuntime

    runtime = OnnxRuntime(bundle, RuntimeSettings(max_points=1))
    for point in bundle.ladder.points:
        name = '@'.join(_names(bundle, point))
        try:
            _check_level(runtime, point, len(bundle.class_names))
        except Exception as error:  # onnx and ONNX Runtime have their own types
            raise ValueError(
                f'{bundle.path}: {name} is not sound: {error}: export the bundle again'
            ) from error
        yield name


def _check_level(runtime: OnnxRuntime, point: OperatingPoint, num_classes: int) -> None:
    images = np.random.default_rng(0).random((1, 3, *point.image_size), np.float32)
    boxes, scores = runtime.run(images, point)
    if len(boxes) != 4 or scores.shape != (num_classes, boxes.shape[1]):
        raise ValueError(f'boxes {boxes.shape} and scores {scores.shape} do not fit')
    if not np.isfinite(boxes).all() or not (scores >= 0).all() or not (scores <= 1).all():
        raise ValueError('boxes are not finite, or scores not within 0 and 1')


def _names(bundle: Bundle, point: OperatingPoint) -> tuple[str, str]:
    return bundle.space.format(point.depth), f'{point.image_size[0]}x{point.image_size[1]}'


def _millions(cost: float | None) -> str:
    return '-' if cost is None else f'{cost / 1e6:.1f} M'

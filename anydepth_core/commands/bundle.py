"""`anydepth bundle`: check a bundle before it goes to a robot, or say what is in it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anydepth_core.commands.runtime_options import (
    add_bundle_argument,
    add_runtime_arguments,
    runtime_settings,
)
from anydepth_core.depth import OperatingPoint
from anydepth_core.text_table import aligned

if TYPE_CHECKING:
    from anydepth_core.evaluation.same_detections import Detect
    from anydepth_core.export.bundle import Bundle
    from anydepth_core.runtime.backends import RuntimeSettings
    from anydepth_core.runtime.onnx_runtime import OnnxRuntime
    from anydepth_core.structures import Detections

HELP = 'check a bundle (verify) or say what is in it (show); needs no torch'

_HEADING = ('level', 'depth', 'size', 'AP', 'AP50', 'multiply-adds')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        'action',
        choices=('verify', 'show'),
        help='verify also builds every level and runs it once; show prints classes, ladder, files',
    )
    add_bundle_argument(parser, 'DIR')
    parser.add_argument(
        '--images',
        type=Path,
        metavar='PATH',
        help='verify: folder of images, or video, on which the chosen back end must find what '
        'ONNX Runtime finds on the CPU in fp32',
    )
    parser.add_argument(
        '--count', type=int, default=100, metavar='N', help='images compared (%(default)s)'
    )
    parser.add_argument(
        '--torch', action='store_true', help='compare with the torch detector, too'
    )
    add_runtime_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Verify or show.

    Raises:
        ValueError: if the bundle is refused; the message says why.
        RuntimeError: if onnx or ONNX Runtime is missing, or a level does not run.
    """
    from anydepth_core.export.bundle import load_bundle

    settings = runtime_settings(args)
    if args.images is None and (args.torch or not _is_reference(settings)):
        raise ValueError('a back end is compared on images: give --images with a folder or video')
    bundle = load_bundle(args.bundle)
    if args.action == 'show':
        print('\n'.join([*describe(bundle), *ladder_table(bundle), *file_list(bundle)]))
        return 0
    for level, text in enumerate(check_levels(bundle)):
        print(f'level {level}: {text} runs')
    print(f'{bundle.path} is sound')
    if args.images is not None:
        compare_back_ends(bundle, settings, args.images, args.count, args.torch)
    return 0


def compare_back_ends(
    bundle: Bundle, settings: RuntimeSettings, source: Path, count: int, torch: bool = False
) -> None:
    """Print, level by level, how far back ends are apart in what they find.

    Args:
        bundle: the verified bundle.
        settings: the back end that is compared with ONNX Runtime on the CPU in fp32.
        source: folder of images, or video.
        count: how many images at most.
        torch: whether the torch detector is compared, too.

    Raises:
        ValueError: if there is nothing to compare, no image, or nothing found in any.
        RuntimeError: if a back end is missing, or one finds something else than another.
    """
    from anydepth_core.evaluation.same_detections import BOX_PX, compare_all, SCORE

    images = _pictures(source, count)
    different = matched = 0
    with ExitStack() as opened:
        candidates = _candidates(bundle, settings, torch, opened)
        for point, one, other, comparison in compare_all(candidates, bundle.ladder.points, images):
            different += not comparison.same
            matched += comparison.matched
            level = bundle.ladder.level_of(point)
            verdict = 'same' if comparison.same else 'DIFFERENT'
            print(f'level {level}, {one} and {other}: {comparison}: {verdict}', flush=True)
    if different:
        raise RuntimeError(
            f'{different} of the comparisons differ by more than {BOX_PX} px or a score of '
            f'{SCORE}: use fp32, another provider, or another version of the back end'
        )
    if not matched:
        raise ValueError(
            f'nothing was found in {source}, so nothing was compared: '
            'give images of what the detector is for'
        )
    print(f'the same detections in {len(images)} images')


def _pictures(source: Path, count: int) -> list[np.ndarray]:
    from anydepth_core.data.pictures import read_pictures

    if count < 1:
        raise ValueError(f'--count {count} is not legal: give 1 or more')
    if not source.exists():
        raise ValueError(f'{source} does not exist: give a folder of images, or a video')
    images = list(read_pictures(source, count))
    if not images:
        raise ValueError(f'{source} holds no image: give a folder of images, or a video')
    return images


def _candidates(
    bundle: Bundle, settings: RuntimeSettings, torch: bool, opened: ExitStack
) -> dict[str, Detect]:
    """Return what is compared, by name; ``opened`` closes it."""
    from anydepth_core.runtime.backends import open_runtime, RuntimeSettings
    from anydepth_core.runtime.pipeline import Pipeline

    chosen = [RuntimeSettings(threads=settings.threads)]
    if not _is_reference(settings):
        chosen.append(settings)
    if len(chosen) + torch < 2:
        raise ValueError(
            'ONNX Runtime on the CPU in fp32 is what the others are compared with: '
            'give another --backend, --provider or --precision, or --torch'
        )

    def detect_with(pipeline: Pipeline) -> Detect:
        def detect(image: np.ndarray, point: OperatingPoint) -> Detections:
            # or the first images of a size would be preprocessed on the CPU
            pipeline.prepare(point, (image.shape[0], image.shape[1]))
            return pipeline(image, point)[0]

        return detect

    candidates = {}
    for each in chosen:
        pipeline = Pipeline(bundle, open_runtime(bundle, each))
        opened.callback(pipeline.close)
        candidates[_name(each)] = detect_with(pipeline)
    return {**candidates, 'torch': torch_detect(bundle)} if torch else candidates


def torch_detect(bundle: Bundle) -> Detect:
    """Return what runs the torch detector of a bundle on an image.

    Raises:
        RuntimeError: if torch is missing.
    """
    try:
        from anydepth_core.evaluation.torch_predict import detect_with_torch
    except ImportError as error:
        raise RuntimeError(
            f'--torch needs torch and friends ({error}): see "Training" in the README'
        ) from None
    return detect_with_torch(bundle)


def _is_reference(settings: RuntimeSettings) -> bool:
    return _name(settings) == 'onnxruntime (cpu, fp32)'


def _name(settings: RuntimeSettings) -> str:
    """Return what runs the network, without what has no influence on its results."""
    provider = f'{settings.provider}, ' if settings.backend == 'onnxruntime' else ''
    return f'{settings.backend} ({provider}{settings.precision})'


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
    return aligned(lines).splitlines()


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

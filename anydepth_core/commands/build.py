"""``anydepth build``: build the TensorRT engines of a bundle ahead of the first frame."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING

from anydepth_core.commands.runtime_options import add_bundle_argument
from anydepth_core.depth import OperatingPoint
from anydepth_core.runtime.level_graphs import PRECISIONS
from anydepth_core.text_table import aligned

if TYPE_CHECKING:
    from anydepth_core.export.bundle import Bundle
    from anydepth_core.runtime.backends import RuntimeSettings
    from anydepth_core.runtime.tensorrt.cache import EngineKey, Record

HELP = 'build the TensorRT engines of a bundle on this device'

_MB = 1e6
_MOST_PIXELS = 16384
_HEADING = ('level', 'engine', 'plan', 'scratch', 'GPU time', 'built in', 'check')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_bundle_argument(parser)
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='fp16',
        help='fp16 turns into fp32 where its results are wrong (%(default)s)',
    )
    parser.add_argument(
        '--device', type=int, default=0, metavar='N', help='number of the GPU (%(default)s)'
    )
    parser.add_argument(
        '--levels',
        metavar='LEVELS',
        help='comma-separated levels or depths instead of the whole ladder',
    )
    parser.add_argument(
        '--cache', type=Path, metavar='DIR', help='engine cache (~/.cache/anydepth/engines)'
    )
    parser.add_argument(
        '--workspace',
        type=int,
        metavar='MB',
        help='scratch memory for the builder; default: a quarter of the free memory',
    )
    parser.add_argument(
        '--images',
        type=Path,
        metavar='PATH',
        help='folder of images, or video, of what the detector is for, to check the engines on; '
        'default: drawn scenes',
    )
    parser.add_argument(
        '--camera-size',
        metavar='SIZE',
        help='build preprocessing for images of this size, too, such as 480x640 (height first)',
    )


def run(args: argparse.Namespace) -> int:
    """Build what is missing and print sizes and verdicts.

    Raises:
        ValueError: if bundle, levels or numbers are not usable.
        RuntimeError: if TensorRT or CUDA is missing, or an engine cannot be built.
    """
    from anydepth_core.commands.evaluate import split_depths
    from anydepth_core.export.bundle import load_bundle
    from anydepth_core.runtime.backends import RuntimeSettings

    camera_size = None if args.camera_size is None else _camera_size(args.camera_size)
    bundle = load_bundle(args.bundle)
    points = list(bundle.ladder.points)
    if args.levels is not None:
        words = split_depths(args.levels)
        points = [bundle.ladder.parse(word, bundle.image_size) for word in words]
    if args.images is not None and not args.images.exists():
        raise FileNotFoundError(2, 'no such file', str(args.images))
    settings = RuntimeSettings(
        'tensorrt',
        precision=args.precision,
        device=args.device,
        engine_cache=args.cache,
        workspace_mb=args.workspace,
    )
    build_engines(bundle, settings, points, args.images, camera_size=camera_size)
    return 0


def build_engines(
    bundle: Bundle,
    settings: RuntimeSettings,
    points: Sequence[OperatingPoint],
    images: Path | None = None,
    trt: Any = None,
    cudart: Any = None,
    command: Sequence[str] | None = None,
    camera_size: tuple[int, int] | None = None,
) -> None:
    """Build the engines that the cache lacks and print a table of all.

    Args:
        bundle: the verified bundle.
        settings: precision, device, cache and workspace.
        points: operating points to build.
        images: what to check new engines on, None for drawn scenes.
        trt: the module ``tensorrt``, imported if None.
        cudart: functions as those of ``libcudart``, loaded if None.
        command: the builder, None for the usual one.
        camera_size: (height, width) of images to build preprocessing for, None for none.

    Raises:
        RuntimeError: if TensorRT or CUDA is missing, or an engine cannot be built; those that
            were built are in the cache.
    """
    from anydepth_core.runtime.providers import require_onnxruntime
    from anydepth_core.runtime.tensorrt.builder import Builder, COMMAND
    from anydepth_core.runtime.tensorrt.cuda import Cuda
    from anydepth_core.runtime.tensorrt.engines import Engines
    from anydepth_core.runtime.tensorrt.library import check_version, import_tensorrt

    require_onnxruntime()
    trt = import_tensorrt() if trt is None else trt
    check_version(trt)
    cuda = Cuda(cudart, settings.device)
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f'{time.monotonic() - started:6.0f} s  {text}', flush=True)

    builder = Builder(COMMAND if command is None else command)
    engines = Engines(bundle, settings, trt, cuda, builder, images, progress)
    print(f'{cuda.name}, TensorRT {trt.__version__}, CUDA {cuda.runtime_version}')
    rows: list[tuple[str, ...]] = [_HEADING]
    for number, point in enumerate(points, 1):
        print(f'engine {number} of {len(points)}', flush=True)
        level = bundle.ladder.level_of(point)
        rows.append(('-' if level is None else str(level), *_row(*engines.obtain(point))))
    if camera_size is not None:
        for size in dict.fromkeys(point.image_size for point in points):
            rows.append(('-', *_row(*engines.obtain_preprocessing(camera_size, size))))
    print(aligned(rows, left=len(_HEADING)))


def _row(key: EngineKey, record: Record) -> tuple[str, ...]:
    build = record.build
    return (
        key.name,
        f'{record.plan_bytes / _MB:.1f} MB',
        f'{build["scratch_bytes"] / _MB:.1f} MB',
        f'{build["gpu_ms"]:.2f} ms',
        f'{build["seconds"]:.0f} s',
        _check(key, record.verdict),
    )


def _check(key: EngineKey, verdict: Mapping[str, Any]) -> str:
    if key.camera_size is not None:
        worst, mean = verdict['worst_level'], verdict['mean_level']
        return f'pixels differ by {worst:.1f} of 255 at most, by {mean:.2f} in the mean'
    if not verdict['detections']:
        return f'scores differ by {verdict["mean_score"]:.4f}; nothing found, see --images'
    return f'{verdict["agreement"]:.1%} of {verdict["detections"]} detections agree'


def _camera_size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.split('x'))
    except ValueError:
        height = width = 0
    if not (1 <= height <= _MOST_PIXELS and 1 <= width <= _MOST_PIXELS):
        raise ValueError(
            f'--camera-size {text} is not legal: give height and width up to {_MOST_PIXELS}, '
            'such as 480x640'
        )
    return height, width

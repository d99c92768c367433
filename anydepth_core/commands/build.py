"""``anydepth build``: build the TensorRT engines of a bundle ahead of the first frame."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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


def run(args: argparse.Namespace) -> int:
    """Build what is missing and print sizes and verdicts.

    Raises:
        ValueError: if bundle, levels or numbers are not usable.
        RuntimeError: if TensorRT or CUDA is missing, or an engine cannot be built.
    """
    from anydepth_core.commands.evaluate import split_depths
    from anydepth_core.export.bundle import load_bundle
    from anydepth_core.runtime.backends import RuntimeSettings

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
    build_engines(bundle, settings, points, args.images)
    return 0


def build_engines(
    bundle: Bundle,
    settings: RuntimeSettings,
    points: Sequence[OperatingPoint],
    images: Path | None = None,
    trt: Any = None,
    cudart: Any = None,
    command: Sequence[str] | None = None,
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
    print(aligned(rows, left=len(_HEADING)))


def _row(key: EngineKey, record: Record) -> tuple[str, ...]:
    build, verdict = record.build, record.verdict
    check = f'{verdict["agreement"]:.1%} of {verdict["detections"]} detections agree'
    if not verdict['detections']:
        check = f'scores differ by {verdict["mean_score"]:.4f}; nothing found, see --images'
    return (
        key.name,
        f'{record.plan_bytes / _MB:.1f} MB',
        f'{build["scratch_bytes"] / _MB:.1f} MB',
        f'{build["gpu_ms"]:.2f} ms',
        f'{build["seconds"]:.0f} s',
        check,
    )

"""What the commands that run a bundle share: which one, back end, provider, precision, threads."""

from __future__ import annotations

import argparse
from typing import Any

from anydepth_core.runtime.backends import BACKENDS, DEFAULTS, RuntimeSettings
from anydepth_core.runtime.level_graphs import PRECISIONS
from anydepth_core.runtime.providers import PROVIDERS


def add_bundle_argument(parser: argparse.ArgumentParser, metavar: str = 'BUNDLE') -> None:
    """Declare the bundle as an argument that may be left out."""
    parser.add_argument(
        'bundle',
        nargs='?',
        default='default',
        metavar=metavar,
        help="bundle directory, or 'default' (%(default)s)",
    )


def add_runtime_arguments(parser: argparse.ArgumentParser, threads: int = 0) -> None:
    """Declare the options.

    Args:
        parser: of the command.
        threads: how many inference threads the command takes unless it is told.
    """
    options = parser.add_argument_group('what runs the network')
    options.add_argument(
        '--backend',
        choices=BACKENDS,
        default=DEFAULTS.backend,
        help='tensorrt builds one engine per depth when it first meets it (%(default)s)',
    )
    options.add_argument(
        '--provider',
        choices=PROVIDERS,
        default=DEFAULTS.provider,
        help='execution provider of onnxruntime (%(default)s)',
    )
    options.add_argument(
        '--precision', choices=PRECISIONS, default=DEFAULTS.precision, help='(%(default)s)'
    )
    options.add_argument(
        '--device', type=int, default=0, metavar='N', help='number of the GPU (%(default)s)'
    )
    options.add_argument(
        '--threads',
        type=int,
        default=threads,
        help='inference threads on the CPU, 0 for all cores (%(default)s)',
    )
    options.add_argument(
        '--gpu-preprocess',
        action='store_true',
        help='let tensorrt resize and convert the images, too; on the CPU until it is built',
    )


def runtime_settings(args: argparse.Namespace, **others: Any) -> RuntimeSettings:
    """Return what the options ask for.

    Args:
        args: the parsed options.
        others: fields of :class:`RuntimeSettings` that the command decides itself.

    Raises:
        ValueError: if a number is out of range.
    """
    return RuntimeSettings(
        backend=args.backend,
        provider=args.provider,
        precision=args.precision,
        device=args.device,
        threads=args.threads,
        preprocess='runtime' if args.gpu_preprocess else 'cpu',
        **others,
    )


def node_parameters(settings: RuntimeSettings) -> dict[str, object]:
    """Return the same choice as parameters of ``detector_node``."""
    return {
        'backend': settings.backend,
        'provider': settings.provider,
        'precision': settings.precision,
        'device': settings.device,
        'threads': settings.threads,
        'gpu_preprocess': settings.preprocess == 'runtime',
    }


def describe(settings: RuntimeSettings) -> str:
    """Return what runs the network, as the heading of a table says it."""
    if settings.backend == 'tensorrt':
        where = ', preprocessing too' if settings.preprocess == 'runtime' else ''
        return f'TensorRT ({settings.precision}), GPU {settings.device}{where}'
    return (
        f'ONNX Runtime ({settings.provider}, {settings.precision}), '
        f'{settings.threads or "all"} thread(s), spinning {"on" if settings.spinning else "off"}'
    )

"""`anydepth benchmark --node`: prepare the environment, run every size, print the figures."""

from __future__ import annotations

import os
from pathlib import Path
import tempfile

import numpy as np

from anydepth_core.commands.runtime_options import describe
from anydepth_core.export.bundle import Bundle
from anydepth_core.files import write_atomically
from anydepth_ros.benchmark.settings import NodeSettings, processors
from anydepth_ros.benchmark.table import format_table, to_json
from anydepth_ros.benchmark.transport import keep_local, write_local_profile


def benchmark_node(bundle: Bundle, settings: NodeSettings, image_bgr: np.ndarray | None) -> int:
    """Measure the node, or the closed loop under contention; print the figures, write the files.

    Args:
        bundle: what the node serves.
        settings: what is measured.
        image_bgr: picture the camera sends, scaled to each size; None for noise.

    Raises:
        ValueError: if the settings do not fit the bundle or the middleware.
        RuntimeError: if ROS is missing, or the node ends or never answers.
    """
    bundle.ladder.parse(settings.depth, bundle.image_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        profile = folder / 'fastdds.xml' if settings.profile else None
        if profile is not None:
            write_local_profile(profile)
        keep_local(os.environ, profile)
        try:
            from anydepth_ros.benchmark.contention.run import measure_contention
            from anydepth_ros.benchmark.session import middleware
        except ImportError as error:
            raise RuntimeError(f'--node needs ROS 2 ({error}): source its setup file') from None
        used = middleware(settings.profile)
        print(_title(f'{bundle.model_name} ({bundle.variant})', used, settings), flush=True)
        if settings.contention is None:
            _measure_sizes(bundle, settings, image_bgr, folder, used)
        else:
            measure_contention(bundle, settings, image_bgr, folder, used)
    return 0


def _measure_sizes(
    bundle: Bundle,
    settings: NodeSettings,
    image_bgr: np.ndarray | None,
    folder: Path,
    middleware: str,
) -> None:
    """Measure the node at every size, print the table and write the JSON."""
    from anydepth_ros.benchmark.session import measure

    runs = [
        measure(str(bundle.path), settings, size, image_bgr, folder) for size in settings.sizes()
    ]
    print(format_table(runs))
    if settings.output is not None:
        model = f'{bundle.model_name} ({bundle.variant})'
        write_atomically(settings.output, to_json(settings, model, middleware, runs).encode())


def _title(model: str, used: str, settings: NodeSettings) -> str:
    pace = f'{settings.rate:g} Hz'
    if settings.overload is not None:
        pace = f'{settings.overload:g} times its own rate'
    transport = 'shared-memory profile' if settings.profile else 'default transport'
    depth, length = f'depth {settings.depth}', f'{settings.seconds:g} s'
    if settings.contention is not None:
        depth = f'with and without controller, {settings.hogs()} hog(s) on {processors()} CPU(s)'
        length = f'{settings.rounds} rounds of {length} calm, {length} with hogs, {length} calm'
    return (
        f'detector node as its own process: {model}, {depth}, '
        f'{describe(settings.runtime)}\n'
        f'{settings.image_size} {settings.encoding} images at {pace} for {length}, '
        f'{settings.reliability}, {used}, {transport}'
    )

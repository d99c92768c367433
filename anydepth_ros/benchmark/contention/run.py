"""`anydepth benchmark --node --contention`: calibrate, play every round, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anydepth_core.export.bundle import Bundle
from anydepth_core.files import write_atomically
from anydepth_ros.benchmark.contention.course import Course
from anydepth_ros.benchmark.contention.figures import summarise
from anydepth_ros.benchmark.contention.picture import draw
from anydepth_ros.benchmark.contention.report import deadline_text, format_report, to_csv, to_json
from anydepth_ros.benchmark.contention.series import POLICIES, Round
from anydepth_ros.benchmark.session import detector_parameters, opened
from anydepth_ros.benchmark.settings import NodeSettings


def measure_contention(
    bundle: Bundle,
    settings: NodeSettings,
    image_bgr: np.ndarray | None,
    folder: Path,
    middleware: str,
) -> None:
    """Play all rounds, print the figures and write the files.

    Args:
        bundle: what the detector serves.
        settings: what is measured.
        image_bgr: picture the camera sends, None for noise.
        folder: for temporary files.
        middleware: its name.

    Raises:
        RuntimeError: if a process ends or does not answer.
    """
    with opened(settings, settings.sizes()[0], image_bgr, folder) as session:
        session.start_detector(detector_parameters(str(bundle.path), settings))
        session.warm_up()
        course = Course(session, settings, str(bundle.path), len(bundle.ladder) - 1)
        deadline_ms, calibrated = settings.deadline, None
        if deadline_ms is None:
            calibrated = course.calibrate()
            deadline_ms = calibrated.deadline_ms
        print(deadline_text(deadline_ms, calibrated), flush=True)
        rounds = []
        for number, policy in interleaved(settings.rounds):
            print(f'round {number + 1} of {settings.rounds}: {policy}', flush=True)
            rounds.append(course.round(policy, number, deadline_ms))
    level_ap = [dict(point.metrics).get('AP') for point in bundle.ladder.points]
    figures = summarise(rounds, deadline_ms, calibrated, level_ap)
    print(format_report(figures))
    if settings.output is not None:
        model = f'{bundle.model_name} ({bundle.variant})'
        output = Path(settings.output)
        write_atomically(output, to_json(settings, model, middleware, figures, rounds).encode())
        write_atomically(output.with_suffix('.csv'), to_csv(rounds).encode())
        _draw(rounds, deadline_ms, len(level_ap), settings, output.with_suffix('.png'))


def interleaved(rounds: int) -> list[tuple[int, str]]:
    """Return number and policy of every round, each number beginning with another policy."""
    turned = [
        [POLICIES[(number + place) % len(POLICIES)] for place in range(len(POLICIES))]
        for number in range(rounds)
    ]
    return [(number, policy) for number, policies in enumerate(turned) for policy in policies]


def _draw(
    rounds: Sequence[Round], deadline_ms: float, levels: int, settings: NodeSettings, path: Path
) -> None:
    title = (
        f'{settings.hogs()} hog(s) beside the detector, {settings.rate:g} images a second, '
        f'deadline {deadline_ms:.1f} ms'
    )
    try:
        draw(rounds, deadline_ms, levels, title, path)
    except ImportError:
        print('no picture: it needs matplotlib, pip install "anydepth-ros[demo]"')

"""From what was sent and heard to the figures of one run; plain Python and NumPy, no ROS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

STEPS = (
    'age_ms',
    'received_age_ms',
    'total_ms',
    'inference_ms',
    'overhead_ms',
    'wait_ms',
    'overhead_without_wait_ms',
    'preprocess_ms',
    'postprocess_ms',
    'publish_ms',
)
COUNTERS = ('dropped', 'too_old', 'errors')


@dataclass(frozen=True)
class Spread:
    """The middle, the tail and the worst of some milliseconds."""

    p50: float
    p95: float
    worst: float


@dataclass(frozen=True)
class Sent:
    """What the camera did.

    Attributes:
        rate_hz: images per second that it was to send.
        seconds: for how long.
        stamps: nanoseconds, one for each image it sent.
        refused: images the middleware did not take.
    """

    rate_hz: float
    seconds: float
    stamps: tuple[int, ...]
    refused: int


@dataclass(frozen=True)
class Load:
    """What the detector's process used.

    Attributes:
        memory_10s_mb: resident memory 10 s after the warm-up, None if the run was shorter.
        memory_end_mb: at the end.
        cpu_s: processor time of the run.
    """

    memory_10s_mb: float | None
    memory_end_mb: float
    cpu_s: float


@dataclass(frozen=True)
class AgeBound:
    """How the age of an image when it is answered compares with what is unavoidable.

    Attributes:
        bound_ms: one inference, one period of the camera and the overhead without waiting; the
            median, because each image has its own.
        beyond: milliseconds by which images were older than their own bound, negative if younger:
            what the way from the camera to the node took, and what of the period had not passed.
    """

    bound_ms: float
    beyond: Spread


@dataclass(frozen=True)
class RunFigures:
    """The figures of one run; None is what the node or the run does not tell.

    Attributes:
        size: (width, height) of the images.
        rate_hz: images per second that the camera was to send.
        sent: images that left the camera.
        period_ms: between two images that left the camera, on average.
        received_period_ms: between two images that the node received.
        refused: images the middleware did not take from the camera.
        received: images whose callback was entered, from the node's own counters.
        published: images with detections.
        dropped: images the node left out for a newer one; where messages are numbered, also those
            that were lost before a later one came.
        too_old: images over the age limit.
        errors: images that could not be processed.
        lost: sent, but in none of the node's counters: lost after the last that came, or all that
            were lost where messages are not numbered (Humble).
        steps: milliseconds of each step in ``STEPS``.
        bound: the age against its bound.
        detections_mean, detections_max: per answered image.
        take_ms: the middleware's take and deserialisation of such an image, measured apart.
        load: memory and processor time of the node.
    """

    size: tuple[int, int]
    rate_hz: float
    sent: int
    period_ms: float | None
    received_period_ms: float | None
    refused: int
    received: int
    published: int
    dropped: int | None
    too_old: int | None
    errors: int | None
    lost: int
    steps: Mapping[str, Spread | None]
    bound: AgeBound | None
    detections_mean: float | None
    detections_max: int | None
    take_ms: Spread | None
    load: Load


def spread(values: Iterable[float]) -> Spread | None:
    """Return p50, p95 and the worst of some values, None without any."""
    numbers = np.array(list(values), np.float64)
    if numbers.size == 0:
        return None
    p50, p95 = np.percentile(numbers, (50, 95))
    return Spread(float(p50), float(p95), float(numbers.max()))


def answered(
    stamps: Sequence[int], stats: Mapping[int, Mapping[str, str]], detections: Mapping[int, int]
) -> list[dict[str, float]]:
    """Join by stamp: the steps of each image of the run that has both stats and detections."""
    return [_steps(stats[stamp]) for stamp in stamps if stamp in stats and stamp in detections]


def _steps(values: Mapping[str, str]) -> dict[str, float]:
    steps = {name: float(values[name]) for name in STEPS if name in values}
    if 'overhead_ms' in steps and 'wait_ms' in steps:
        steps['overhead_without_wait_ms'] = steps['overhead_ms'] - steps['wait_ms']
    return steps


def counted(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int | None]:
    """Return by how much each of the node's counters has grown, None for one it has not."""
    return {
        name: int(after[name]) - int(before.get(name, 0)) if name in after else None
        for name in COUNTERS
    }


def age_bound(frames: Iterable[Mapping[str, float]], period_ms: float) -> AgeBound | None:
    """Compare ages with one inference, one period and the overhead without waiting.

    The node may be at work when an image arrives, but it goes on with the newest; so what it
    begins with is one period old at most.
    """
    needed = {'age_ms', 'total_ms', 'wait_ms'}
    known = [frame for frame in frames if needed <= frame.keys()]
    if not known:
        return None
    bounds = np.array([frame['total_ms'] - frame['wait_ms'] + period_ms for frame in known])
    beyond = spread(np.array([frame['age_ms'] for frame in known]) - bounds)
    return None if beyond is None else AgeBound(float(np.median(bounds)), beyond)


def summarise(
    size: tuple[int, int],
    sent: Sent,
    stats: Mapping[int, Mapping[str, str]],
    detections: Mapping[int, int],
    counts: Mapping[str, int | None],
    take_ms: Sequence[float],
    load: Load,
) -> RunFigures:
    """Work out the figures of one run."""
    frames = answered(sent.stamps, stats, detections)
    found = [detections[stamp] for stamp in sent.stamps if stamp in detections]
    period_ms = 1e3 * sent.seconds / len(sent.stamps) if sent.stamps else None
    received = len(found) + sum(count or 0 for count in counts.values())
    return RunFigures(
        size=size,
        rate_hz=sent.rate_hz,
        sent=len(sent.stamps),
        period_ms=period_ms,
        received_period_ms=1e3 * sent.seconds / received if received else None,
        refused=sent.refused,
        received=received,
        published=len(found),
        dropped=counts['dropped'],
        too_old=counts['too_old'],
        errors=counts['errors'],
        lost=len(sent.stamps) - received,
        steps={name: spread(f[name] for f in frames if name in f) for name in STEPS},
        bound=None if period_ms is None else age_bound(frames, period_ms),
        detections_mean=float(np.mean(found)) if found else None,
        detections_max=max(found, default=None),
        take_ms=spread(take_ms),
        load=load,
    )


def growth_percent(load: Load) -> float | None:
    """Return how much resident memory has grown since the first 10 s."""
    if load.memory_10s_mb is None:
        return None
    return 100 * (load.memory_end_mb / load.memory_10s_mb - 1)


def time_per_image_ms(frames: Iterable[Mapping[str, str]]) -> float | None:
    """Return how long the detector is busy with one image: the median of all steps but waiting."""
    busy = [
        float(values['total_ms']) - float(values.get('wait_ms', 0))
        for values in frames
        if 'total_ms' in values
    ]
    return float(np.median(busy)) if busy else None

"""The figures of `anydepth benchmark` as they are written to JSON; docs/benchmarks.md says more.

What was not or cannot be measured is None, ``null`` in the file, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
import math
from pathlib import Path
from typing import Any

from anydepth_core.config import from_mapping, to_mapping
from anydepth_core.evaluation.latency import Latency
from anydepth_core.files import write_atomically

FORMAT = 1


@dataclass(frozen=True)
class Spread:
    """How one step's time is distributed over the rounds."""

    p50_ms: float
    """Median, in milliseconds."""
    p95_ms: float
    """95th percentile."""
    p99_ms: float
    """99th percentile; below some 200 rounds it is little else than the slowest ones."""
    jitter_ms: float
    """p95 - p50: how much later than usual a late frame is."""

    @classmethod
    def of(cls, latency: Latency, step: str) -> Spread:
        """Summarise a step (a name in ``latency.STEPS``)."""
        p50, p95, p99 = (latency.percentile(step, percent) for percent in (50, 95, 99))
        return cls(p50, p95, p99, latency.jitter(step))


@dataclass(frozen=True)
class PointFigures:
    """One operating point."""

    level: int | None
    """Level of the ladder, None for a point beside it."""
    depth: str
    """The depth as text."""
    image_size: tuple[int, int]
    """Height and width of the network input."""
    ap: float | None
    """AP that the bundle states, 0..1."""
    multiply_adds: float
    """Of one image, counted in the graph that runs."""
    preprocess: Spread
    inference: Spread
    postprocess: Spread
    total: Spread
    time_over_dearest: float | None
    """Median over the rounds of inference time over that of the point with most multiply-adds."""
    resident_added_mb: float | None
    """By how much making this point ready, after those before it, raised the resident memory."""
    device_added_mb: float | None
    """The same for the memory of the accelerator."""
    power_w: float | None = None
    """Mean power of the machine while it runs this point frame after frame."""
    energy_j: float | None = None
    """Energy of one frame, the machine at rest included."""
    energy_above_idle_j: float | None = None
    """Energy of one frame beyond what the machine takes at rest meanwhile."""


@dataclass(frozen=True)
class PeerFigures:
    """Another detector's ONNX (``--compare``): inference only."""

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    """Shape of what each of its inputs was given."""
    ap: float | None
    """AP as given on the command line, 0..1."""
    inference: Spread
    time_over_dearest: float | None
    """As that of a point, over the same point."""
    resident_added_mb: float | None


@dataclass(frozen=True)
class Machine:
    """What the times belong to."""

    device: str
    """Board or processor, in its own words."""
    accelerator: str | None
    """Name of the GPU, None where the network runs on the CPU or it cannot be told."""
    processors: int
    """Processors this process may use."""
    system: str
    versions: Mapping[str, str]
    """Of Python, ONNX Runtime and TensorRT, where they are there."""


@dataclass(frozen=True)
class Memory:
    """Memory of the process and of the accelerator, in 10^6 bytes."""

    resident_before_mb: float | None
    """Resident memory with the bundle verified and the back end open."""
    resident_ready_mb: float | None
    """The same with every measured point ready, before peers are loaded."""
    device_before_mb: float | None
    """Memory of the accelerator in use, other programs included."""
    device_ready_mb: float | None


@dataclass(frozen=True)
class BenchmarkReport:
    """One run of `anydepth benchmark`."""

    format: int
    anydepth: str
    """Version of this software."""
    date: str
    """UTC, ISO 8601."""
    machine: Machine
    model: str
    image_size: tuple[int, int]
    """Height and width of the network input that the bundle states for full and base."""
    runs_on: str
    """Back end, provider, precision, threads."""
    peers_run_on: str | None
    """The same for the peers, None without any."""
    runs: int
    """Interleaved rounds."""
    picture: tuple[int, int]
    """Height and width of the image that was detected in."""
    memory: Memory
    idle_power_w: float | None
    """Power of the machine at rest, right before."""
    full_over_base_time: float | None
    """Median over the rounds of inference time, at ``image_size``; None if one was left out."""
    full_over_base_multiply_adds: float | None
    points: tuple[PointFigures, ...]
    peers: tuple[PeerFigures, ...]

    def __post_init__(self) -> None:
        """Check that this version can read it.

        Raises:
            ValueError: if the format is another one.
        """
        if self.format != FORMAT:
            raise ValueError(f'format {self.format} is not known: this version reads {FORMAT}')


def finite(value: float | None) -> float | None:
    """Return the value, None for NaN and infinity, which JSON does not have."""
    return None if value is None or not math.isfinite(value) else value


def write_report(report: BenchmarkReport, path: str | Path) -> None:
    """Write a report as JSON, as a whole or not at all."""
    text = json.dumps(_plain(to_mapping(report)), indent=2, allow_nan=False)
    write_atomically(path, f'{text}\n'.encode())


def read_report(path: str | Path) -> BenchmarkReport:
    """Read a report.

    Raises:
        ValueError: if the file is missing or holds something else; the message names it.
        ImportError: if dacite is missing.
    """
    try:
        return from_mapping(json.loads(Path(path).read_text(encoding='utf-8')), BenchmarkReport)
    except (OSError, ValueError) as error:
        raise ValueError(
            f'{path} is no report of anydepth benchmark ({error}): '
            'give a file that its --output has written'
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return finite(value) if isinstance(value, float) else value

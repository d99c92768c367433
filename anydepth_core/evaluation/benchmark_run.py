"""Measures a bundle, and peers beside it: memory while they load, time in turns, energy last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from tqdm import tqdm

from anydepth_core.commands.runtime_options import describe
from anydepth_core.depth import OperatingPoint
from anydepth_core.evaluation.benchmark import (
    BenchmarkReport,
    finite,
    FORMAT,
    Memory,
    PeerFigures,
    PointFigures,
    Spread,
)
from anydepth_core.evaluation.complexity import multiply_adds as count
from anydepth_core.evaluation.energy import Energy, measure_energy
from anydepth_core.evaluation.latency import Latency, measure_interleaved
from anydepth_core.evaluation.machine import this_machine
from anydepth_core.evaluation.peer import Peer, PeerFile
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.level_graphs import LevelGraphs
from anydepth_core.runtime.memory import give_back_memory, resident_bytes
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_core.runtime.runtime import Runtime
from anydepth_core.structures import Timing
from anydepth_core.version import __version__


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        points: operating points.
        runs: timed rounds.
        image_bgr: (H, W, 3) uint8.
        peers: other detectors.
        peer_size: (height, width) where a peer leaves them open.
        energy_s: seconds for the energy of each point, 0 for none.
        sensor_root: the root of the file system, or of a copy of it.
    """

    points: Sequence[OperatingPoint]
    runs: int
    image_bgr: np.ndarray
    peers: Sequence[PeerFile] = ()
    peer_size: tuple[int, int] = (640, 640)
    energy_s: float = 0.0
    sensor_root: Path = Path('/')


@dataclass(frozen=True)
class _InUse:
    """Bytes in use: resident memory of this process, and memory of the accelerator."""

    resident: int | None
    device: int | None


def run_benchmark(
    bundle: Bundle, runtime: Runtime, settings: RuntimeSettings, plan: Plan
) -> BenchmarkReport:
    """Measure everything that the plan names.

    Raises:
        ValueError: if the back end cannot keep all points ready, or a peer takes no image.
        RuntimeError: if the back end fails or a peer cannot be run.
    """
    for_peers = replace(settings, backend='onnxruntime', precision='fp32', preprocess='cpu')
    pipeline = Pipeline(bundle, runtime)
    in_use = _prepare(pipeline, plan)
    peers, added_mb = _open_peers(plan, for_peers)
    latencies = _measure(pipeline, peers, plan)
    idle_w, energies = _energies(pipeline, plan)
    costs = multiply_adds(bundle, plan.points)
    dearest = latencies[int(np.argmax(costs))]
    ends = _ends(bundle, plan.points)
    return BenchmarkReport(
        format=FORMAT,
        anydepth=__version__,
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        machine=this_machine(runtime.accelerator),
        model=f'{bundle.model_name} ({bundle.variant})',
        image_size=bundle.image_size,
        runs_on=describe(settings),
        peers_run_on=describe(for_peers).replace(', fp32', '') if peers else None,
        runs=plan.runs,
        picture=(plan.image_bgr.shape[0], plan.image_bgr.shape[1]),
        memory=_memory(in_use[0], in_use[-1]),
        idle_power_w=idle_w,
        full_over_base_time=_ratio(latencies[ends[0]], latencies[ends[1]]) if ends else None,
        full_over_base_multiply_adds=costs[ends[0]] / costs[ends[1]] if ends else None,
        points=tuple(
            _with_memory(_point(bundle, point, latency, cost, dearest, energy), before, after)
            for point, latency, cost, energy, before, after in zip(
                plan.points, latencies, costs, energies, in_use, in_use[1:]
            )
        ),
        peers=tuple(
            _peer(peer, latency, dearest, added)
            for peer, latency, added in zip(peers, latencies[len(plan.points) :], added_mb)
        ),
    )


def multiply_adds(bundle: Bundle, points: Sequence[OperatingPoint]) -> list[float]:
    """Return the multiply-adds of one image at each point, counted in the graphs that run."""
    graphs = LevelGraphs(bundle)
    return [float(count(graphs.graph(point))['total']) for point in points]


def _prepare(pipeline: Pipeline, plan: Plan) -> list[_InUse]:
    """Make every point ready; return the memory in use before, and after each."""
    points, image_size = plan.points, (plan.image_bgr.shape[0], plan.image_bgr.shape[1])
    in_use = [_in_use(pipeline.runtime)]
    for point in tqdm(points, desc='building', unit='depth', leave=False, disable=None):
        pipeline.prepare(point, image_size)
        in_use.append(_in_use(pipeline.runtime))
    if not all(map(pipeline.runtime.ready, points)):
        raise ValueError(
            f'the back end keeps {pipeline.runtime.capacity} of {len(points)} operating points '
            'ready, and one that is not would be timed with its loading: '
            'name fewer with --depths'
        )
    return in_use


def _open_peers(plan: Plan, settings: RuntimeSettings) -> tuple[list[Peer], list[float | None]]:
    peers: list[Peer] = []
    added_mb: list[float | None] = []
    for file in plan.peers:
        before = _resident()
        peers.append(Peer(file, settings, plan.image_bgr, plan.peer_size))
        added_mb.append(_mb(_resident(), before))
    return peers, added_mb


def _measure(pipeline: Pipeline, peers: Sequence[Peer], plan: Plan) -> list[Latency]:
    def candidate(point: OperatingPoint) -> Callable[[], Timing]:
        return lambda: pipeline(plan.image_bgr, point)[1]

    candidates: list[Callable[[], Timing]] = [*map(candidate, plan.points), *peers]
    with tqdm(total=plan.runs, desc='measuring', unit='round', leave=False, disable=None) as bar:
        return measure_interleaved(candidates, plan.runs, progress=bar.update)


def _energies(pipeline: Pipeline, plan: Plan) -> tuple[float | None, Sequence[Energy | None]]:
    def candidate(point: OperatingPoint) -> Callable[[], object]:
        return lambda: pipeline(plan.image_bgr, point)

    found = None
    if plan.energy_s:
        candidates = list(map(candidate, plan.points))
        found = measure_energy(candidates, plan.energy_s, plan.sensor_root)
    return found or (None, [None] * len(plan.points))


def _point(
    bundle: Bundle,
    point: OperatingPoint,
    latency: Latency,
    cost: float,
    dearest: Latency,
    energy: Energy | None,
) -> PointFigures:
    return PointFigures(
        level=bundle.ladder.level_of(point),
        depth=bundle.space.format(point.depth),
        image_size=point.image_size,
        ap=finite(dict(point.metrics).get('AP')),
        multiply_adds=cost,
        preprocess=Spread.of(latency, 'preprocess_ms'),
        inference=Spread.of(latency, 'inference_ms'),
        postprocess=Spread.of(latency, 'postprocess_ms'),
        total=Spread.of(latency, 'total_ms'),
        time_over_dearest=_ratio(latency, dearest),
        resident_added_mb=None,
        device_added_mb=None,
        power_w=energy.power_w if energy else None,
        energy_j=energy.frame_j if energy else None,
        energy_above_idle_j=energy.above_idle_j if energy else None,
    )


def _with_memory(figures: PointFigures, before: _InUse, after: _InUse) -> PointFigures:
    return replace(
        figures,
        resident_added_mb=_mb(after.resident, before.resident),
        device_added_mb=_mb(after.device, before.device),
    )


def _peer(peer: Peer, latency: Latency, dearest: Latency, added_mb: float | None) -> PeerFigures:
    return PeerFigures(
        name=peer.file.name,
        inputs=peer.inputs,
        ap=peer.file.ap,
        inference=Spread.of(latency, 'inference_ms'),
        time_over_dearest=_ratio(latency, dearest),
        resident_added_mb=added_mb,
    )


def _memory(before: _InUse, ready: _InUse) -> Memory:
    return Memory(_mb(before.resident), _mb(ready.resident), _mb(before.device), _mb(ready.device))


def _ends(bundle: Bundle, points: Sequence[OperatingPoint]) -> tuple[int, int] | None:
    """Return where full and base at the bundle's size are, None if one is left out."""
    keys = [(point.depth, point.image_size) for point in points]
    full, base = (bundle.space.full, bundle.image_size), (bundle.space.base, bundle.image_size)
    return (keys.index(full), keys.index(base)) if full in keys and base in keys else None


def _in_use(runtime: Runtime) -> _InUse:
    return _InUse(_resident(), runtime.device_bytes())


def _resident() -> int | None:
    """Return the resident memory, without what was freed but not given back."""
    give_back_memory()
    return resident_bytes()


def _mb(value: int | None, before: int | None = 0) -> float | None:
    return None if value is None or before is None else (value - before) / 1e6


def _ratio(latency: Latency, other: Latency) -> float | None:
    return finite(latency.ratio_to(other))

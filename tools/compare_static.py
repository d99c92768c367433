"""Compare a master and its specialised graphs with torch's static export of the same depths.

For each model: bytes of the master over bytes of the static export of full; and, on ONNX Runtime
with one thread and no spinning, process CPU time in interleaved rounds of the specialised graph,
the static export and the master itself at each depth. Medians of paired ratios are printed, with a
table of where the time goes by operator. Weights are random. Needs torch.

    .venv/bin/python tools/compare_static.py anydepth_yolov12n --rounds 200
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
import json
from pathlib import Path
import platform
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
import torch
from tqdm import tqdm

from anydepth_core import build_detector
from anydepth_core.commands.export import parse_size
from anydepth_core.evaluation.complexity import multiply_adds
from anydepth_core.evaluation.static_export import export_static, stored_bytes
from anydepth_core.export.master import depth_inputs, IMAGES
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.reference import place_errors, query_errors
from anydepth_core.export.specialise import specialise
from anydepth_core.files import write_atomically
from anydepth_core.models.detector import Detector

SPECIALISED, STATIC, MASTER = 'specialised', 'static export', 'master'
DEPTHS = ('full', 'base')
WARM_UP = 3
PROFILED_RUNS = 10
OTHERS = 8  # operator types that get a line of their own in the table

Key = tuple[str, str]  # graph, depth


@dataclass
class Candidate:
    """A session and what it is fed."""

    session: onnxruntime.InferenceSession
    feeds: dict[str, np.ndarray]

    def seconds(self) -> float:
        """Run once and return the CPU time of the process."""
        started = time.process_time()
        self.session.run(['boxes', 'scores'], self.feeds)
        return time.process_time() - started


@dataclass(frozen=True)
class Result:
    """What was measured of one model; times are medians over the rounds.

    Attributes:
        model: name of the model.
        size: (height, width) of the network input.
        rounds: rounds measured.
        master_rounds: of these, rounds in which the master ran.
        master_over_static_bytes: by precision of the stored weights.
        error: largest difference between specialised graph and static export, relative.
        specialised_over_static: CPU time, by depth.
        master_over_specialised: CPU time, by depth.
        base_over_full: CPU time of the specialised graphs.
        multiply_adds_base_over_full: of the same graphs.
        seconds: CPU time of every graph and depth.
        shares: share of the time of the specialised graph by operator type, by depth.
    """

    model: str
    size: tuple[int, int]
    rounds: int
    master_rounds: int
    master_over_static_bytes: dict[str, float]
    error: dict[str, float]
    specialised_over_static: dict[str, float]
    master_over_specialised: dict[str, float]
    base_over_full: float
    multiply_adds_base_over_full: float
    seconds: dict[str, float]
    shares: dict[str, dict[str, float]]


def main() -> None:
    """Measure every model named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('models', nargs='+', metavar='NAME')
    parser.add_argument('--size', default='640', help='320, or 256x384 (%(default)s)')
    parser.add_argument('--rounds', type=int, default=200, help='interleaved rounds (%(default)s)')
    parser.add_argument(
        '--master-rounds',
        type=int,
        default=50,
        help='of these, rounds in which the slower master runs as well (%(default)s)',
    )
    parser.add_argument('--output', type=Path, metavar='FILE', help='write the figures as JSON')
    options = parser.parse_args()
    results = []
    for name in options.models:
        size, rounds = parse_size(options.size), options.rounds
        results.append(measure(name, size, rounds, min(rounds, options.master_rounds)))
        print(report(results[-1]), flush=True)
    if options.output is not None:
        facts = {
            'machine': platform.processor() or platform.machine(),
            'onnxruntime': onnxruntime.__version__,
            'torch': torch.__version__,
            'date': time.strftime('%Y-%m-%d'),
            'results': [asdict(result) for result in results],
        }
        write_atomically(options.output, json.dumps(facts, indent=1).encode() + b'\n')


def measure(name: str, size: tuple[int, int], rounds: int, master_rounds: int) -> Result:
    """Build all graphs of a model and measure them."""
    torch.manual_seed(0)
    detector = build_detector(name).eval()
    images = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
    graphs, costs, bytes_ratio = build_graphs(detector, size)
    candidates = {
        key: Candidate(session_of(model), feeds_of(detector, key, images))
        for key, model in graphs.items()
    }
    shares = {depth: profile(graphs[SPECIALISED, depth], images) for depth in DEPTHS}
    graphs.clear()
    times = interleaved(candidates, rounds, master_rounds)

    def ratio(over: Key, under: Key) -> float:
        both = min(len(times[over]), len(times[under]))
        return float(np.median(times[over][:both] / times[under][:both]))

    return Result(
        name,
        size,
        rounds,
        master_rounds,
        bytes_ratio,
        {depth: difference(detector, candidates, depth) for depth in DEPTHS},
        {depth: ratio((SPECIALISED, depth), (STATIC, depth)) for depth in DEPTHS},
        {depth: ratio((MASTER, depth), (SPECIALISED, depth)) for depth in DEPTHS},
        ratio((SPECIALISED, 'base'), (SPECIALISED, 'full')),
        costs['base'] / costs['full'],
        {f'{graph} {depth}': float(np.median(each)) for (graph, depth), each in times.items()},
        shares,
    )


def build_graphs(
    detector: Detector, size: tuple[int, int]
) -> tuple[dict[Key, onnx.ModelProto], dict[str, int], dict[str, float]]:
    """Make every graph; count multiply-adds by depth, and bytes by precision of the weights."""
    master = build_master(detector, half=False)
    graphs, costs = {}, {}
    for depth in DEPTHS:
        config = detector.depth_space.parse(depth)
        special = specialise(master, config.stages, size, config.decoder_layers)
        costs[depth] = multiply_adds(special)['total']
        graphs[SPECIALISED, depth] = special
        graphs[STATIC, depth] = export_static(detector, depth, size)
        graphs[MASTER, depth] = master
    static = graphs[STATIC, 'full']
    ratios = {
        'float32': stored_bytes(master) / stored_bytes(static),
        'float16': stored_bytes(build_master(detector)) / stored_bytes(static, half=True),
    }
    return graphs, costs, ratios


def session_of(
    model: onnx.ModelProto, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """Make a session of one thread that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )


def feeds_of(detector: Detector, key: Key, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs of one graph."""
    graph, depth = key
    inputs = depth_inputs(detector.depth_space.parse(depth)) if graph == MASTER else {}
    return {IMAGES: images, **inputs}


def interleaved(
    candidates: Mapping[Key, Candidate], rounds: int, master_rounds: int
) -> dict[Key, np.ndarray]:
    """Time every candidate once per round, in alternating order; the master in the first only."""
    times: dict[Key, list[float]] = {key: [] for key in candidates}
    for number in tqdm(range(-WARM_UP, rounds), desc='rounds', unit='round'):
        for key in candidates if number % 2 else reversed(candidates):
            if key[0] == MASTER and number >= master_rounds:
                continue
            seconds = candidates[key].seconds()
            if number >= 0:
                times[key].append(seconds)
    return {key: np.array(each) for key, each in times.items()}


def difference(detector: Detector, candidates: Mapping[Key, Candidate], depth: str) -> float:
    """Largest relative difference between what specialised graph and static export compute."""
    actual, wanted = (
        dict(zip(('boxes', 'scores'), each.session.run(['boxes', 'scores'], each.feeds)))
        for each in (candidates[SPECIALISED, depth], candidates[STATIC, depth])
    )
    queries = detector.depth_space.decoder_layers is not None
    return max((query_errors if queries else place_errors)(actual, wanted).values())


def profile(model: onnx.ModelProto, images: np.ndarray) -> dict[str, float]:
    """Return the share of the time of each operator type, largest first."""
    with tempfile.TemporaryDirectory() as folder:
        session = session_of(model, Path(folder, 'profile'))
        for _ in range(PROFILED_RUNS):
            session.run(None, {IMAGES: images})
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get('cat') == 'Node' and event['name'].endswith('_kernel_time'):
            spent[event['args']['op_name']] += event['dur']
    return {kind: each / spent.total() for kind, each in spent.most_common()}


def report(result: Result) -> str:
    """Describe a result in text."""
    height, width = result.size
    lines = [f'{result.model} at {height}x{width}, {result.rounds} interleaved rounds']
    lines += [
        f'  master / static export of full, bytes, weights in {precision}: {ratio:.3f}'
        for precision, ratio in result.master_over_static_bytes.items()
    ]
    for depth in DEPTHS:
        lines.append(
            f'  {depth}: specialised / static {result.specialised_over_static[depth]:.3f}, '
            f'master (If) / specialised {result.master_over_specialised[depth]:.3f}, '
            f'CPU time {result.seconds[f"{SPECIALISED} {depth}"] * 1e3:.1f} ms, '
            f'difference {result.error[depth]:.0e}'
        )
    time_ratio, cost_ratio = result.base_over_full, result.multiply_adds_base_over_full
    lines.append(
        f'  full / base: time {1 / time_ratio:.3f}, multiply-adds {1 / cost_ratio:.3f}, '
        f'one over the other {cost_ratio / time_ratio:.3f}'
    )
    kinds = list(result.shares['full'])[:OTHERS]
    lines.append(f'  {"share of the time":<24}' + ''.join(f'{depth:>8}' for depth in DEPTHS))
    for kind in kinds:
        shares = (result.shares[depth].get(kind, 0.0) for depth in DEPTHS)
        lines.append(f'  {kind:<24}' + ''.join(f'{share:>8.1%}' for share in shares))
    rest = (1 - sum(result.shares[depth].get(kind, 0.0) for kind in kinds) for depth in DEPTHS)
    lines.append(f'  {"others":<24}' + ''.join(f'{share:>8.1%}' for share in rest))
    return '\n'.join(lines)


if __name__ == '__main__':
    main()

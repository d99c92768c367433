"""Measure depth levels as CUDA graphs in torch: a stand-in for engines where there is no TensorRT.

    .venv/bin/python tools/gpu_levels.py                     # on a GPU; writes docs/benchmarks/
    .venv/bin/python tools/gpu_levels.py --device cpu --models anydepth_yolov12n --size 64

One CUDA graph a level; all share the weights, the input and the scratch memory. Half precision:
autocast, convolution and linear weights stored as such. The weights are random (results of deep
models may even overflow), which does not change the time. Unlike an engine, torch neither folds
norms into convolutions nor fuses activations: the ratios between levels are what to look at. Needs
torch and this repository only, no network.

Nobody has run this on a GPU yet: only the flow has been tried, with ``--device cpu``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
import json
from pathlib import Path
import re
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from anydepth_core import build_detector  # noqa: E402
from anydepth_core.commands.export import parse_ladder  # noqa: E402
from anydepth_core.depth import DepthConfig  # noqa: E402
from anydepth_core.files import write_atomically  # noqa: E402
from anydepth_core.models.detector import Detector  # noqa: E402

MODELS = ('anydepth_yolov12s', 'anydepth_yolov12l', 'anydepth_rtdetr_r50', 'anydepth_rtdetr_r101')
_WARM_UP = 10

Run = Callable[[], float]
"""Runs a level once and returns the milliseconds it took."""


class GraphLevels:
    """The levels of a detector as CUDA graphs that share weights, input and scratch memory.

    Attributes:
        images: (1, 3, size, size) input of every level, in [0, 1].
        outputs: of each level; its graph writes them.
        memory: bytes of the device that are taken after the weights and after each level.
    """

    def __init__(self, detector: Detector, depths: Sequence[DepthConfig], size: int) -> None:
        """Record a graph a level; the detector is on the GPU already."""
        self.images = torch.rand(1, 3, size, size, device='cuda')
        self.images = self.images.contiguous(memory_format=torch.channels_last)
        self._graphs: list[torch.cuda.CUDAGraph] = []
        self.outputs: list[dict[str, torch.Tensor]] = []
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self._pool = torch.cuda.graph_pool_handle()
        self.memory = [_taken_bytes()]
        for depth in depths:
            self._record(detector, depth)
            self.memory.append(_taken_bytes())

    def run(self, level: int) -> float:
        """Run a level and return the milliseconds between two events around it."""
        start, end = self._events
        start.record()
        self._graphs[level].replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))

    def _record(self, detector: Detector, depth: DepthConfig) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # as torch wants it: lazy set-up may not be recorded
            for _ in range(3):
                forward(detector, self.images, depth)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = forward(detector, self.images, depth)
        self._graphs.append(graph)
        self.outputs.append(outputs)


class EagerLevels:
    """The same without a GPU, call by call: to try the flow, not to measure anything.

    Attributes:
        memory: empty, nothing is counted.
    """

    def __init__(self, detector: Detector, depths: Sequence[DepthConfig], size: int) -> None:
        """Keep what is run."""
        self._detector, self._depths = detector, depths
        self._images = torch.rand(1, 3, size, size)
        self.memory: list[int] = []

    def run(self, level: int) -> float:
        """Run a level and return the milliseconds it took."""
        started = time.perf_counter()
        forward(self._detector, self._images, self._depths[level])
        return 1e3 * (time.perf_counter() - started)


@torch.no_grad()
def forward(
    detector: Detector, images: torch.Tensor, depth: DepthConfig
) -> dict[str, torch.Tensor]:
    """Run a detector in half precision; its cast weights are not cached across calls."""
    with torch.autocast(images.device.type, torch.float16, cache_enabled=False):
        return detector(images, depth).outputs


def random_detector(name: str) -> Detector:
    """Build a detector with random weights."""
    torch.manual_seed(0)
    detector: Detector = build_detector(name).eval()
    return detector


def to_half(detector: Detector, device: str) -> Detector:
    """Move a detector, its weights of convolutions and linear layers in half precision."""
    detector = detector.to(device)
    for weight in detector.parameters():
        if weight.dim() >= 2:
            weight.data = weight.data.half()
    return detector.to(memory_format=torch.channels_last) if device == 'cuda' else detector


def measure_levels(runs: Sequence[Run], rounds: int) -> list[np.ndarray]:
    """Time all levels in turns, every other round backwards.

    Returns:
        The milliseconds of each level, (rounds,) each.
    """
    order = list(range(len(runs)))
    times = np.zeros((len(runs), rounds))
    for number in range(-_WARM_UP, rounds):
        for level in order if number % 2 else reversed(order):
            milliseconds = runs[level]()
            if number >= 0:
                times[level, number] = milliseconds
    return list(times)


def measure_switches(runs: Sequence[Run], rounds: int) -> list[dict[str, float]]:
    """Time the last level right after a switch to it, against a run without a switch.

    Returns:
        For each other level the median of the paired ratios, and of the same without a switch,
        which shows the noise.
    """
    last, found = runs[-1], []
    for other in runs[:-1]:
        pairs = []
        for _ in range(rounds):
            other()
            switched, same, again = last(), last(), last()
            pairs.append((switched / same, again / same))
        after, noise = np.median(pairs, axis=0)
        found.append({'switched': round(float(after), 4), 'not_switched': round(float(noise), 4)})
    return found


def summarise(
    detector: Detector,
    depths: Sequence[DepthConfig],
    times: Sequence[np.ndarray],
    switches: Sequence[dict[str, float]],
    memory: Sequence[int],
) -> dict[str, Any]:
    """Put the figures of a model together, as the JSON file holds them."""
    first = times[0]
    levels = [
        {
            'depth': detector.depth_space.format(depth),
            'p50_ms': round(float(np.percentile(series, 50)), 4),
            'p95_ms': round(float(np.percentile(series, 95)), 4),
            'p99_ms': round(float(np.percentile(series, 99)), 4),
            'ratio_to_full': round(float(np.median(series / first)), 4),
        }
        for depth, series in zip(depths, times)
    ]
    found: dict[str, Any] = {'model': detector.name, 'levels': levels, 'switches': list(switches)}
    if memory:
        start, one, every = memory[0], memory[1], memory[-1]
        found['memory_bytes'] = {
            'weights_and_torch': start,
            'one_level': one,
            'all_levels': every,
            'further_levels': every - one,
        }
    return found


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the table for the README."""
    lines = [
        '| model | depth | time / full | p50 | p95 | after a switch | memory, all levels / one |',
        '|---|---|---|---|---|---|---|',
    ]
    for result in results:
        memory = result.get('memory_bytes')
        share = f'{memory["all_levels"] / memory["one_level"]:.3f}' if memory else '-'
        after = [f'{switch["switched"]:.3f}' for switch in result['switches']] + ['-']
        for number, (level, switched) in enumerate(zip(result['levels'], after)):
            lines.append(
                f'| {"" if number else result["model"]} | {level["depth"]} '
                f'| {level["ratio_to_full"]:.2f} | {level["p50_ms"]:.2f} ms '
                f'| {level["p95_ms"]:.2f} ms | {switched} | {"" if number else share} |'
            )
    return '\n'.join(lines)


def slug(device: str) -> str:
    """Return the name of a device as part of a file name."""
    return re.sub('[^a-z0-9]+', '_', device.lower()).strip('_')


def measure_model(name: str, device: str, size: int, rounds: int) -> dict[str, Any]:
    """Measure one model; see :func:`summarise` for what comes back."""
    detector = to_half(random_detector(name), device)
    points = parse_ladder(detector.depth_space, None, (size, size))
    depths = [point.depth for point in points]
    kind = GraphLevels if device == 'cuda' else EagerLevels
    levels = kind(detector, depths, size)
    runs = [lambda level=level: levels.run(level) for level in range(len(depths))]
    times = measure_levels(runs, rounds)
    return summarise(detector, depths, times, measure_switches(runs, rounds), levels.memory)


def facts(device: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Say where, when and how it was measured."""
    name = torch.cuda.get_device_name() if device == 'cuda' else 'cpu'
    return {
        'format': 1,
        'device': name,
        'driver': _driver() if device == 'cuda' else None,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'command': ' '.join(('tools/gpu_levels.py', *arguments)),
        'torch': torch.__version__,
        'cuda': torch.version.cuda,
        'precision': 'fp16',
        'batch': 1,
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, write the JSON file and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument('--models', default=','.join(MODELS), help='(%(default)s)')
    parser.add_argument('--size', type=int, default=640, help='side of the input (%(default)s)')
    parser.add_argument('--rounds', type=int, default=200, help='(%(default)s)')
    parser.add_argument('--output', type=Path, default=ROOT / 'docs' / 'benchmarks')
    args = parser.parse_args(arguments)
    if args.device == 'cuda' and not torch.cuda.is_available():
        print('torch sees no GPU here: use --device cpu to try the flow', file=sys.stderr)
        return 1
    if args.rounds < 1 or args.size < 32 or args.size % 32:
        parser.error('--rounds must be 1 or more, --size a multiple of 32')
    results = []
    for name in args.models.split(','):
        print(f'measuring {name}', file=sys.stderr, flush=True)
        results.append(measure_model(name, args.device, args.size, args.rounds))
    document = {
        **facts(args.device, arguments),
        'size': args.size,
        'rounds': args.rounds,
        'models': results,
    }
    path = args.output / f'gpu_{slug(document["device"])}.json'
    write_atomically(path, f'{json.dumps(document, indent=1)}\n'.encode())
    print(table(results))
    print(f'written: {path}', file=sys.stderr)
    return 0


def _taken_bytes() -> int:
    """Return what all programs take of the device, unused cache of torch aside."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return total - free


def _driver() -> str:
    command = ('nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader')
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    return done.stdout.splitlines()[0].strip() if done.stdout else 'unknown'


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

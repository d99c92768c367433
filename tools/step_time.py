"""Print what an any-depth step costs: one against a full step and a base step of plain training.

    .venv/bin/python tools/step_time.py anydepth_yolov12n:320 rtdetr_r18:320 [--batch 8]
    torchrun --nproc-per-node 2 tools/step_time.py anydepth_yolov12n:320

An any-depth step runs both passes, then clips, steps the optimiser and updates the averages once.
Plain training of two detectors, one at full and one at base depth, runs the same passes and does
the rest twice. Each of the three has a detector of its own and sees the same random images; they
take turns, and medians of the paired ratios are printed. Times are process CPU time, on a GPU the
time between two of its events.

Started by torchrun, it measures instead how training scales: images per second of all processes
together, by the clock, over those of the first one alone while the others wait, in turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
import json
from pathlib import Path
import time

import numpy as np
import torch
from tqdm import tqdm

from anydepth_core.data.loader import Batch
from anydepth_core.evaluation.machine import device_name
from anydepth_core.files import write_atomically
from anydepth_core.models.build import build_detector
from anydepth_core.text_table import aligned
from anydepth_core.train.distributed import ALONE, joined, Processes
from anydepth_core.train.ema import Ema
from anydepth_core.train.families import build_objective
from anydepth_core.train.optim import build_optimizer, OptimizerSettings
from anydepth_core.train.settings import PASSES, PRECISIONS
from anydepth_core.train.step import any_depth_step, StepSettings

CLASSES = 3
OBJECTS = 5
"""Targets of an image."""

WARM_UP = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each model; print a line for each."""
    args = parse_arguments(arguments)
    torch.set_num_threads(args.threads)
    with joined(args.device) as processes:
        measure = step_cost if processes.count == 1 else scaling
        found = []
        for model in args.models:
            name, _, size = model.partition(':')
            result = measure(name, int(size or 320), args, processes)
            result |= {
                'device': machine(processes.device),
                'threads': args.threads,
                'precision': args.precision,
            }
            found.append(result)
        if processes.first:
            print(f'{machine(processes.device)}, torch {torch.__version__}, {args.precision}')
            print(
                aligned(
                    [list(_shown(found[0])), *(list(_shown(each).values()) for each in found)], 1
                )
            )
            if args.json:
                write_atomically(args.json, json.dumps(found, indent=2).encode())


def step_cost(
    name: str, size: int, args: argparse.Namespace, processes: Processes
) -> dict[str, object]:
    """Measure the three kinds of step in turns."""
    batch = random_batch(args.batch, size).to(processes.device)
    takers = {
        passes: step_taker(name, batch, args.precision, processes.device, passes)
        for passes in PASSES
    }
    times: dict[str, list[float]] = {passes: [] for passes in PASSES}
    for turn in rounds(name, args, processes):
        shift = turn % len(PASSES)
        for passes in PASSES[shift:] + PASSES[:shift]:
            spent = seconds(takers[passes], processes.device)
            if turn >= WARM_UP:
                times[passes].append(spent)
    both, full, base = (np.array(times[passes]) for passes in PASSES)
    ratios = both / (full + base)
    return {
        'model': name,
        'size': size,
        'batch': args.batch,
        'rounds': args.rounds,
        'ratio': float(np.median(ratios)),
        'quartiles': [float(value) for value in np.percentile(ratios, (25, 75))],
        'any_depth_s': float(np.median(both)),
        'full_s': float(np.median(full)),
        'base_s': float(np.median(base)),
    }


def scaling(
    name: str, size: int, args: argparse.Namespace, processes: Processes
) -> dict[str, object]:
    """Measure all processes together and the first one alone in turns."""
    batch = random_batch(args.batch, size, processes.rank).to(processes.device)
    together = step_taker(name, batch, args.precision, processes.device, processes=processes)
    alone = step_taker(name, batch, args.precision, processes.device)
    pairs = []
    for turn in rounds(name, args, processes):
        one = clock(alone, processes.device) if processes.first else 0.0
        processes.wait()
        all_of_them = clock(together, processes.device)
        processes.wait()
        if turn >= WARM_UP:
            pairs.append((one, all_of_them))
    one_s, all_s = np.median(pairs, axis=0) if processes.first else (1.0, 1.0)
    ratios = [processes.count * one / both for one, both in pairs]
    return {
        'model': name,
        'size': size,
        'batch': args.batch,
        'rounds': args.rounds,
        'processes': processes.count,
        'throughput_ratio': float(np.median(ratios)),
        'quartiles': [float(value) for value in np.percentile(ratios, (25, 75))],
        'images_per_s_alone': args.batch / float(one_s),
        'images_per_s_together': processes.count * args.batch / float(all_s),
    }


def rounds(name: str, args: argparse.Namespace, processes: Processes) -> Iterator[int]:
    """Count the rounds and show the progress."""
    count = WARM_UP + args.rounds
    return iter(tqdm(range(count), name, leave=False, disable=not processes.first))


def step_taker(
    name: str,
    batch: Batch,
    precision: str,
    device: torch.device,
    passes: str = 'both',
    processes: Processes = ALONE,
) -> Callable[[], object]:
    """Return what takes one step of training with a detector of its own."""
    torch.manual_seed(0)
    detector = build_detector(name, num_classes=CLASSES).train().to(device)
    detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = Ema(detector)
    # so low a rate that random images do no harm
    optimizer = build_optimizer(detector, OptimizerSettings(name='adamw', rate=1e-6))
    objective = build_objective(detector.family, None, CLASSES, processes=processes)
    autocast = None if precision == 'float32' else getattr(torch, precision)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == 'float16')
    settings = StepSettings(autocast=autocast, passes=passes)
    parallel = processes.parallel(detector)

    def take() -> object:
        return any_depth_step(
            detector,
            [(batch, None)],
            optimizer,
            objective,
            settings,
            scaler,
            ema,
            parallel=parallel,
            processes=processes,
        )

    return take


def random_batch(count: int, size: int, seed: int = 0) -> Batch:
    """Make images of noise with targets anywhere."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    corners = torch.rand(count * OBJECTS, 2, 2, generator=generator).sort(1).values * size
    labels = torch.randint(CLASSES, (count * OBJECTS,), generator=generator)
    index = torch.arange(count).repeat_interleave(OBJECTS)
    return Batch(pixels, index, labels, corners.flatten(1))


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Run once; return the CPU time of the process, on a GPU the time between its events."""
    if device.type != 'cuda':
        started = time.process_time()
        work()
        return time.process_time() - started
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    work()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1000


def clock(work: Callable[[], object], device: torch.device) -> float:
    """Run once; return the time by the clock."""
    started = time.perf_counter()
    work()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def machine(device: torch.device) -> str:
    """Return the name of what computes."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else device_name()


def _shown(result: dict[str, object]) -> dict[str, str]:
    """Columns of a result."""
    low, high = result['quartiles']  # type: ignore[misc]
    shown = {'model': f'{result["model"]} @ {result["size"]}, {result["batch"]} images'}
    if 'ratio' in result:
        shown |= {
            'any-depth / (full + base)': f'{result["ratio"]:.3f}',
            'quartiles': f'{low:.3f} .. {high:.3f}',
        }
        for name in ('any_depth_s', 'full_s', 'base_s'):
            shown[name] = f'{result[name]:.3f}'
        return shown
    return shown | {
        'processes': str(result['processes']),
        'together / alone': f'{result["throughput_ratio"]:.2f}',
        'quartiles': f'{low:.2f} .. {high:.2f}',
        'images/s alone': f'{result["images_per_s_alone"]:.1f}',
        'together': f'{result["images_per_s_together"]:.1f}',
    }


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'models', nargs='+', metavar='MODEL[:SIZE]', help='model, side of its input (320)'
    )
    parser.add_argument('--batch', type=int, default=8, help='images of a step and process (8)')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--threads', type=int, default=1, help='threads of a process (1)')
    parser.add_argument('--device', help='cpu, cuda; the GPU where there is one')
    parser.add_argument('--precision', choices=PRECISIONS, default='float32')
    parser.add_argument('--json', type=Path, help='write the figures there')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    main()

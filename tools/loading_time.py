"""Print where the time of data loading goes, and whether a training step has to wait for it.

    .venv/bin/python tools/loading_time.py [RECIPE] --data DATA [--rounds 12] [--workers 1,2]

Loads batches of the recipe in this process and trains on each, alternating, on one thread: CPU
time of both and the median of the paired ratios. Then the parts of loading, measured by a
profiler, which makes them slower, and what loading processes deliver by the clock while nothing
trains (that table needs an idle machine). Images are decoded beforehand where the recipe caches
them; --no-cache decodes each time.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
import cProfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
import pstats
import time

import numpy as np
import torch

from anydepth_core.data.coco import CocoDataset
from anydepth_core.data.loader import Batch, build_loader, Loader
from anydepth_core.models.build import build_detector
from anydepth_core.models.detector import Detector
from anydepth_core.text_table import aligned
from anydepth_core.train.families import build_objective
from anydepth_core.train.optim import build_optimizer
from anydepth_core.train.recipe import load_recipe
from anydepth_core.train.settings import TrainSettings
from anydepth_core.train.step import any_depth_step, StepSettings

OWN = ('__getitem__', '_plain', '_augmented', '_composed', '_single', '<listcomp>')
"""Functions of the loader that make a sample."""

NAMES = {
    'load': 'reading and decoding',
    'inner': 'seeding',
    '<split>': 'splitting into planes',
    'stack': 'stacking planes',
}
"""What functions do whose names do not say it."""

RECIPE = 'config/recipes/fod_a_n.yaml'


def main() -> None:
    """Measure loading beside training, then loading alone."""
    args = parse_arguments()
    torch.set_num_threads(1)
    settings = load_recipe(args.recipe)
    data = settings.data
    dataset = CocoDataset(
        args.data / data.train,
        args.data / data.train_images,
        cache=data.cache and not args.no_cache,
        limit=args.limit,
    )
    print(
        f'{Path(args.recipe).name}: {settings.model.name}, {settings.image_size}, batches of '
        f'{settings.batch_size}; {len(dataset)} images, '
        f'{"decoded each time" if args.no_cache or not data.cache else "decoded beforehand"}\n'
    )
    model = settings.model
    detector = build_detector(model.name, model.variant, len(dataset.class_names))
    loads, steps = alternate(detector, dataset, settings, args.rounds)
    ratio = np.median(np.divide(loads, steps))
    rows = [
        (name, f'{1e3 * np.median(seconds):.2f}', f'{1 / np.median(seconds):.0f}')
        for name, seconds in (('loading', loads), ('training', steps))
    ]
    print(aligned([('one thread', 'CPU ms / image', 'images / CPU s'), *rows], left=1))
    print(f'loading / training: {ratio:.3f}\n')
    print(parts_table(dataset, settings, args.rounds, detector.resize), '\n', sep='')
    print(workers_table(dataset, settings, args.workers, args.rounds, detector.resize))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('recipe', nargs='?', default=RECIPE, metavar='RECIPE')
    parser.add_argument('--data', required=True, type=Path)
    parser.add_argument('--rounds', type=int, default=12, help='batches of each measurement')
    parser.add_argument('--limit', type=int, help='use only the first images')
    parser.add_argument('--no-cache', action='store_true', help='decode each time')
    parser.add_argument(
        '--workers', type=lambda text: [int(item) for item in text.split(',')], default=[1, 2]
    )
    return parser.parse_args()


def loader_of(dataset: CocoDataset, settings: TrainSettings, workers: int, resize: str) -> Loader:
    """Build the loader of the recipe."""
    return build_loader(
        dataset,
        settings.image_size,
        settings.batch_size,
        settings.augment,
        workers,
        settings.seed,
        shuffle=True,
        resize=resize,
    )


def batches_of(loader: Loader) -> Iterator[Batch]:
    """Yield batches, epoch after epoch."""
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        yield from loader
        epoch += 1


def alternate(
    detector: Detector, dataset: CocoDataset, settings: TrainSettings, rounds: int
) -> tuple[list[float], list[float]]:
    """Load a batch and train on it, in turns.

    Returns:
        CPU seconds per image of loading and of training, one of each a round; a first round is
        left out.
    """
    detector.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = build_objective(detector.family, settings.loss, detector.num_classes)
    optimizer = build_optimizer(detector, replace(settings.optimizer, rate=1e-6))
    precision = None if settings.precision == 'float32' else getattr(torch, settings.precision)
    options = StepSettings(settings.clip_norm, precision)
    batches = batches_of(loader_of(dataset, settings, 0, detector.resize))
    loads, steps = [], []
    for _ in range(rounds + 1):
        started = time.process_time()
        batch = next(batches)
        loaded = time.process_time()
        any_depth_step(detector, [(batch, None)], optimizer, objective, options)
        loads.append((loaded - started) / len(batch))
        steps.append((time.process_time() - loaded) / len(batch))
    return loads[1:], steps[1:]


def parts_table(dataset: CocoDataset, settings: TrainSettings, rounds: int, resize: str) -> str:
    """Return what loading consists of, in CPU time: the functions that the loader calls itself."""
    batches = batches_of(loader_of(dataset, settings, 0, resize))
    next(batches)
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    images = sum(len(batch) for batch in islice(batches, rounds))
    profile.disable()
    seconds: dict[str, float] = {}
    statistics = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = {key for key in statistics if key[0].endswith('data/loader.py')}
    seconds: Counter[str] = Counter()
    for key, (*_, within, callers) in statistics.items():
        if key in own and key[2] == 'collate':
            seconds['collate'] = within
        elif key not in own:
            seconds[key[2]] += sum(
                call[3] for caller, call in callers.items() if caller in own and caller[2] in OWN
            )
    whole = seconds['collate'] + sum(statistics[key][3] for key in own if key[2] == OWN[0])
    shown = [(name, value) for name, value in seconds.most_common() if value > 0.01 * whole]
    shown.append(('all else', whole - sum(value for _, value in shown)))
    rows = [
        (NAMES.get(name, name), f'{1e3 * value / images:.3f}', f'{100 * value / whole:.1f}')
        for name, value in [*shown, ('together', whole)]
    ]
    return aligned([('part of loading', 'CPU ms / image', '%'), *rows], left=1)


def workers_table(
    dataset: CocoDataset, settings: TrainSettings, workers: list[int], rounds: int, resize: str
) -> str:
    """Return how fast loading processes are by the clock, the start of them left out."""
    rows = []
    for count in workers:
        batches = batches_of(loader_of(dataset, settings, count, resize))
        for _ in range(2 * count + 1):  # what was loaded ahead while the first batch was awaited
            next(batches)
        started = time.monotonic()
        images = sum(len(batch) for batch in islice(batches, rounds))
        rows.append((str(count), f'{images / (time.monotonic() - started):.0f}'))
    return aligned([('loading processes', 'images / s'), *rows], left=1)


if __name__ == '__main__':
    main()

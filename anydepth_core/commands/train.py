"""``anydepth train``: train an any-depth detector by a recipe."""

from __future__ import annotations

import argparse
from dataclasses import replace
import logging
import os
from pathlib import Path
import shlex
import signal
from typing import TYPE_CHECKING

from anydepth_core.errors import sentence

if TYPE_CHECKING:
    from anydepth_core.data.coco import CocoDataset
    from anydepth_core.train.distributed import Processes
    from anydepth_core.train.settings import TrainSettings
    from anydepth_core.train.trainer import Trainer

HELP = 'train a detector by a recipe (YAML), also under torchrun'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument('config', help='recipe, for example config/recipes/fod_a_n.yaml')
    parser.add_argument(
        '--data',
        required=True,
        type=Path,
        help='folder that the data paths of the recipe start from',
    )
    parser.add_argument(
        '--output', required=True, type=Path, help='folder for checkpoints, logs and state'
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='go on with the run in the output folder at the step where it ended',
    )
    parser.add_argument(
        '--init',
        help='start from this instead of what the recipe says: a checkpoint in any form that '
        "anydepth convert reads, or a bundle ('default' is one); with another number of classes, "
        'what depends on it starts fresh',
    )
    parser.add_argument(
        '--device',
        help='torch device; default: the GPU where there is one, under torchrun one per process',
    )
    parser.add_argument('--epochs', type=int, help='epochs instead of those of the recipe')
    parser.add_argument(
        '--workers', type=int, help='data loading processes instead of those of the recipe'
    )
    parser.add_argument(
        '--limit', type=int, help='use only the first images of both sets (a quick trial)'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check recipe, data and memory with one small step, show the plan, write nothing',
    )


def run(args: argparse.Namespace) -> int:
    """Train; see :class:`anydepth_core.train.trainer.Trainer` for the files it writes."""
    # the default holds 1024 convolution primitives; several input sizes need more, and rebuilding
    # costs as much as running them
    os.environ.setdefault('ONEDNN_PRIMITIVE_CACHE_CAPACITY', '20000')
    try:
        from anydepth_core.train.distributed import joined
        from anydepth_core.train.recipe import load_recipe
        import anydepth_core.train.trainer  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            f'training needs torch and friends ({error}): see "Training" in the README'
        ) from None
    settings = load_recipe(args.config)
    given = {
        name: getattr(args, name)
        for name in ('epochs', 'workers', 'init')
        if getattr(args, name) is not None
    }
    settings = replace(settings, **given)
    if not args.resume and (args.output / 'state.safetensors').exists():
        raise ValueError(
            f'{args.output} holds a run already: add --resume or choose another --output'
        )
    with joined(args.device) as processes:
        level = logging.INFO if processes.first else logging.ERROR
        logging.basicConfig(level=level, format='%(message)s')
        return _train(args, settings, processes)


def _train(args: argparse.Namespace, settings: TrainSettings, processes: Processes) -> int:
    from anydepth_core.data.coco import CocoDataset
    from anydepth_core.train.trainer import Trainer

    data = settings.data
    cache = data.cache and not args.dry_run
    train_set = CocoDataset(
        args.data / data.train, args.data / data.train_images, cache=cache, limit=args.limit
    )
    # only the first process evaluates
    val_set = CocoDataset(
        args.data / data.val,
        args.data / data.val_images,
        cache=cache and processes.first,
        limit=args.limit,
    )
    if args.dry_run:
        return _try(settings, train_set, val_set, args.output, processes)
    trainer = Trainer(settings, train_set, val_set, args.output, processes, args.resume)
    try:
        metrics = trainer.run()
    except KeyboardInterrupt as stop:
        if processes.first:
            print(f'\nstopped; {_kept(trainer)}\n{_again(args)}')
        return 128 + getattr(stop, 'number', signal.SIGINT)
    except (ArithmeticError, ValueError, RuntimeError, OSError) as error:
        raise RuntimeError(f'{sentence(error)}; {_kept(trainer)}') from error
    for depth, figures in metrics.items():
        print(f'{depth}: AP {figures["AP"]:.3f}  AP50 {figures["AP50"]:.3f}')
    return 0


def _try(
    settings: TrainSettings,
    train_set: CocoDataset,
    val_set: CocoDataset,
    output: Path,
    processes: Processes,
) -> int:
    from anydepth_core.train.dry_run import dry_run

    plan = dry_run(settings, train_set, val_set, output, processes)
    if processes.first:
        print(plan)
    return 0


def _kept(trainer: Trainer) -> str:
    """Say what of a run that ended before its time is kept."""
    if not trainer.state_path.exists():
        return 'nothing was trained yet: start again without --resume'
    epochs, steps = trainer.saved
    return (
        f'{epochs} epochs and {steps} of {trainer.steps} steps are kept in {trainer.output}: '
        'go on with --resume'
    )


def _again(args: argparse.Namespace) -> str:
    """Return the command that goes on with a run, or starts again if none is kept."""
    words = ['anydepth', 'train', args.config, '--data', args.data, '--output', args.output]
    for name in ('init', 'device', 'epochs', 'workers', 'limit'):
        if getattr(args, name) is not None:
            words += [f'--{name}', getattr(args, name)]
    kept = (args.output / 'state.safetensors').exists()
    return shlex.join([*map(str, words), *(['--resume'] if kept else [])])

"""``anydepth train``: train an any-depth detector by a recipe."""

from __future__ import annotations

import argparse
from dataclasses import replace
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anydepth_core.train.distributed import Processes
    from anydepth_core.train.settings import TrainSettings

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
        '--output', required=True, type=Path, help='folder for checkpoints and metrics.csv'
    )
    parser.add_argument(
        '--resume', action='store_true', help='go on with the run in the output folder'
    )
    parser.add_argument(
        '--weights',
        help='checkpoint to start from instead of that of the recipe, in any form that '
        'anydepth convert reads; with another number of classes, what depends on it starts fresh',
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
        for name in ('epochs', 'workers', 'weights')
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
    train_set = CocoDataset(
        args.data / data.train, args.data / data.train_images, cache=data.cache, limit=args.limit
    )
    # only the first process evaluates
    val_set = CocoDataset(
        args.data / data.val,
        args.data / data.val_images,
        cache=data.cache and processes.first,
        limit=args.limit,
    )
    try:
        metrics = Trainer(settings, train_set, val_set, args.output, processes, args.resume).run()
    except FloatingPointError as error:
        raise RuntimeError(f'{error}; the last epoch is kept in {args.output}') from None
    except ValueError as error:
        # an error in a loading process arrives with that process's traceback around it
        raise ValueError(str(error).strip().splitlines()[-1]) from None
    except KeyboardInterrupt:
        if not (args.output / 'state.safetensors').exists():
            print('\nstopped before the end of the first epoch; nothing was saved')
            return 130
        print(
            f'\nstopped; go on with: anydepth train {args.config} --data {args.data} '
            f'--output {args.output} --resume'
        )
        return 130
    for depth, figures in metrics.items():
        print(f'{depth}: AP {figures["AP"]:.3f}  AP50 {figures["AP50"]:.3f}')
    return 0

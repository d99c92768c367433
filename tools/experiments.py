"""Compare the any-depth method with its baselines, and with parts of it left out, on small data.

`run` trains and measures a matrix of runs (a variant of a recipe and a seed each), `norms` tries
re-estimated norms on finished ones, `report` puts all figures into tables and a picture. What is
finished is skipped, what was interrupted goes on: repeat the same command.

    python tools/experiments.py run bccd --data BCCD --output runs/bccd --seeds 0,1,2 --jobs 1
    python tools/experiments.py norms bccd --data BCCD --output runs/bccd --seeds 0,1,2
    python tools/experiments.py report --output runs/bccd
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
import signal
import sys

from tqdm import tqdm

from anydepth_core.errors import sentence
from anydepth_core.evaluation.experiments.matrix import (
    Run,
    runs_of,
    STUDIES,
    VARIANTS,
    write_recipe,
)
from anydepth_core.evaluation.experiments.results import write_points
from anydepth_core.evaluation.experiments.runs import epochs_done, finished, Runner, train_command

RECIPES = Path(__file__).resolve().parents[1] / 'config' / 'recipes' / 'experiments'


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; errors are one sentence and status 1."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    try:
        return args.do(args)
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        print(f'error: {sentence(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nstopped: the same command goes on', file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    """Train and measure all runs that are not finished."""
    runs = runs_of(args.output, args.seeds, args.only)
    recipe = RECIPES / f'{STUDIES[args.study].recipe}.yaml'
    asked = {'init': args.init, 'optimizer.rate': args.rate}
    changes = {name: value for name, value in asked.items() if value is not None}
    total = sum(write_recipe(recipe, one, args.epochs, changes) for one in runs)

    def training(one: Run) -> list[str]:
        return train_command(one, args.data)

    def measuring(one: Run) -> list[str]:
        command = [sys.executable, __file__, 'measure', args.study, '--data', str(args.data)]
        place = ['--output', str(args.output), '--seeds', str(one.seed), '--only', one.variant]
        return [*command, *place]

    with tqdm(total=total, initial=sum(map(epochs_done, runs)), unit='epoch') as bar:

        def show(done: int, names: list[str]) -> None:
            bar.set_postfix_str(', '.join(names), refresh=False)
            bar.n = done
            bar.refresh()

        # a service manager ends us like this: the trainings end as with Ctrl-C
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            failures = Runner(training, measuring, args.jobs, show).all(runs)
        finally:
            signal.signal(signal.SIGTERM, before)
    for failure in failures:
        print(f'\n{failure}', file=sys.stderr)
    print(f'{sum(map(finished, runs))} of {len(runs)} runs are finished')
    return 1 if failures else 0


def measure(args: argparse.Namespace) -> int:
    """Measure trained runs."""
    from anydepth_core.evaluation.experiments.measure import measure as measured

    for one in runs_of(args.output, args.seeds, args.only):
        points = measured(args.study, STUDIES[args.study], one, args.data)
        write_points(one.file('points.csv'), points)
    return 0


def norms(args: argparse.Namespace) -> int:
    """Measure re-estimated norms of the runs that are finished."""
    from anydepth_core.evaluation.experiments.norms import measure_norms

    runs = [one for one in runs_of(args.output, args.seeds, args.only) if finished(one)]
    if not runs:
        raise ValueError(f'no such run in {args.output} is finished: `run` trains and measures it')
    for one in tqdm([one for one in runs if not one.file('norms.csv').is_file()], unit='run'):
        points = measure_norms(args.study, STUDIES[args.study], one, args.data)
        write_points(one.file('norms.csv'), points)
    return 0


def report(args: argparse.Namespace) -> int:
    """Write tables and picture of all that is measured."""
    from anydepth_core.evaluation.experiments.report import write_report

    for path in write_report(args.output, args.step_time):
        print(f'wrote {path}')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for function in (run, measure, norms):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(do=function)
        command.add_argument('study', choices=STUDIES, help='data set')
        command.add_argument('--data', required=True, type=Path, help='folder of the data set')
        command.add_argument('--output', required=True, type=Path, help='folder of all runs')
        command.add_argument(
            '--seeds', type=_numbers, default=(0,), help='comma-separated (default 0)'
        )
        command.add_argument(
            '--only', nargs='+', default=(), metavar='NAME', help=f'some of {", ".join(VARIANTS)}'
        )
    trains = commands.choices['run']
    trains.add_argument('--jobs', type=int, default=1, help='runs at a time (%(default)s)')
    trains.add_argument('--epochs', type=int, help='instead of those of the recipe')
    trains.add_argument(
        '--init', help='checkpoint or bundle that all runs start from (random weights)'
    )
    trains.add_argument('--rate', type=float, help='learning rate instead of that of the recipe')
    command = commands.add_parser('report', help=report.__doc__)
    command.set_defaults(do=report)
    command.add_argument('--output', required=True, type=Path, help='folder of all runs')
    command.add_argument('--step-time', type=Path, help='JSON of tools/step_time.py')
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(','))


if __name__ == '__main__':
    sys.exit(main())

"""`anydepth sensors`: what the sensors of this machine say, and what reading them costs."""

from __future__ import annotations

import argparse
from pathlib import Path
import time

HELP = 'show what the sensors of this machine say, and what reading them costs'

LONGEST_S = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        '--root',
        default='/',
        metavar='DIR',
        help='directory under which sys and proc are read (%(default)s)',
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=3.0,
        metavar='N',
        help='how long to watch them; loads need two readings (%(default)s)',
    )


def run(args: argparse.Namespace) -> int:
    """Watch the sensors as the controller does, then print one table.

    The share of a core is the processor time of this process, which does nothing else meanwhile.

    Raises:
        ValueError: if an argument is not usable.
    """
    from anydepth_core.sensing.report import described
    from anydepth_core.sensing.sampler import sampler_of

    if not Path(args.root).is_dir():
        raise ValueError(f'--root {args.root} is no directory')
    if not 0 < args.seconds <= LONGEST_S:
        raise ValueError(f'--seconds {args.seconds:g} is not legal: give up to {LONGEST_S:g}')
    with sampler_of(Path(args.root)) as sampler:
        wall_s, busy_s = time.monotonic(), time.process_time()
        time.sleep(args.seconds)
        busy_s, wall_s = time.process_time() - busy_s, time.monotonic() - wall_s
        sample = sampler.newest()
    rows = described(sample)
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f'{name.ljust(width)}  {text}')
    for words in sample.problems:
        print(f'problem: {words}')
    for words in sample.absent:
        print(f'not on this device: {words}')
    print(f'reading took {busy_s / wall_s:.2%} of a core over {wall_s:.1f} s')
    return 0

"""Print what a switch of depth costs: a frame right after a switch against one without.

    .venv/bin/python tools/switch_cost.py [BUNDLE] [ROUNDS]

Both levels are ready; process CPU time of one inference at the cheaper one, one thread, spinning
off, interleaved; medians of the paired ratios. The second column is the same without a switch, so
it shows the noise.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from anydepth_core.commands.runtime_options import add_bundle_argument
from anydepth_core.export.bundle import load_bundle
from anydepth_core.runtime.backends import open_runtime, RuntimeSettings


def main() -> None:
    """Measure the cheapest level of the ladder against each other one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_bundle_argument(parser)
    parser.add_argument('rounds', nargs='?', type=int, default=200, metavar='ROUNDS')
    args = parser.parse_args()
    bundle = load_bundle(args.bundle)
    points = bundle.ladder.points
    runtime = open_runtime(bundle, RuntimeSettings(threads=1, max_points=len(points)))
    images = [np.zeros((1, 3, *point.image_size), np.float32) for point in points]

    def run(level: int) -> float:
        started = time.process_time()
        runtime.run(images[level], points[level])
        return time.process_time() - started

    for level in range(len(points)):
        run(level)
    for other in range(1, len(points)):
        pairs = []
        for _ in range(args.rounds):
            run(other)
            switched, same, again = run(0), run(0), run(0)
            pairs.append((switched / same, again / same))
        after, noise = np.median(pairs, axis=0)
        print(f'level {other} -> 0: {after:.3f}   0 -> 0: {noise:.3f}')


if __name__ == '__main__':
    main()

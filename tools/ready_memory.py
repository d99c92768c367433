"""Print how much memory each further ready depth of a bundle takes: ``ready_memory.py [BUNDLE]``.

Resident memory of this process (Linux), ladder from the cheapest on; each level is built, run once
and kept.
"""

from __future__ import annotations

import sys

import numpy as np

from anydepth_core.export.bundle import load_bundle
from anydepth_core.runtime.backends import open_runtime, RuntimeSettings
from anydepth_core.runtime.memory import resident_bytes


def resident_mb() -> float:
    """Return the resident memory of this process."""
    resident = resident_bytes()
    if resident is None:
        raise RuntimeError('/proc/self/status tells no VmRSS: this needs Linux')
    return resident / 1e6


def main(path: str = 'default') -> None:
    """Build one level after the other and print what they take."""
    bundle = load_bundle(path)
    runtime = open_runtime(bundle, RuntimeSettings(threads=1, max_points=len(bundle.ladder)))
    print(f'bundle verified: {resident_mb():.1f} MB')
    for level, point in enumerate(bundle.ladder.points):
        before = resident_mb()
        runtime.run(np.zeros((1, 3, *point.image_size), np.float32), point)
        now = resident_mb()
        print(
            f'{level + 1} ready, {bundle.space.format(point.depth)}@{point.image_size[0]}x'
            f'{point.image_size[1]}: {now:.1f} MB (+{now - before:.1f})'
        )


if __name__ == '__main__':
    main(*sys.argv[1:2])

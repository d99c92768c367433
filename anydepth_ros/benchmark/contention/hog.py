"""A hog: a process that keeps a processor busy until its parent is gone.

    python -m anydepth_ros.benchmark.contention.hog PARENT

PARENT is the number of the process that started it. However that one ends, even killed, the hog
ends too; it also ends at once when it is told to.
"""

from __future__ import annotations

import os
import sys

TURNS = 100_000  # milliseconds of work between two looks at the parent


def keep_busy(parent: int) -> None:
    """Count until the parent is another one than that."""
    while os.getppid() == parent:
        for _ in range(TURNS):
            pass


if __name__ == '__main__':
    keep_busy(int(sys.argv[1]))

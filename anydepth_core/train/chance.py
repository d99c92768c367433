"""Chance that follows from a key, so that a step draws the same whatever ran before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """Return the seed of a generator of its own for each key, for example (seed, epoch, step).

    Args:
        key: numbers, at least 0.
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Let torch refuse operations whose result changes from run to run while the block runs.

    On CPUs there is none in training; on GPUs the matrix products need the setting of the
    environment before the first of them, which this makes too.

    Args:
        wanted: False changes nothing.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    before, benchmark = (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark

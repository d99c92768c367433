"""Batches by steps of the optimiser, and what loading processes say when they fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
import itertools

from anydepth_core.data.loader import Batch


def steps_per_epoch(batches: Sized, accumulate: int) -> int:
    """Return the steps of an epoch; batches that make no whole step are left out, but one is."""
    return max(1, len(batches) // accumulate)


def grouped(batches: Iterable[Batch], accumulate: int, count: int) -> Iterator[list[Batch]]:
    """Yield the batches of each of ``count`` steps."""
    if count:
        source = iter(batches)
        for _ in range(count):
            yield list(itertools.islice(source, accumulate))


@contextmanager
def loading_errors() -> Iterator[None]:
    """Turn the errors of loading processes into one sentence.

    Raises:
        ValueError: what a process raised, without its traceback.
        RuntimeError: if a process died.
    """
    try:
        yield
    except ValueError as error:
        last = str(error).strip().splitlines()[-1]
        raise ValueError(last.removeprefix('ValueError: ')) from None
    except RuntimeError as error:
        if 'DataLoader worker' not in str(error):
            raise
        raise RuntimeError(
            'a data loading process was killed, most often for lack of memory or of shared '
            'memory (/dev/shm): lower workers, or set data.cache: false'
        ) from error

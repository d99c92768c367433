"""Reading the small files of ``/sys`` and ``/proc``: whatever goes wrong, the value is unknown.

Such a file may be missing, refuse to be read now (EAGAIN while a power rail is off), hold a
number in place of "no reading" or, on a faulty driver, anything at all. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import glob
import math
import os
from pathlib import Path
import re
from typing import Generic, TypeVar

T = TypeVar('T')

_READ_BYTES = 4096
_NAME_LENGTH = 64
_INTEGER = re.compile(r'[+-]?[0-9]{1,18}')


def read_text(path: str) -> str | None:
    """Read the first 4 KiB of a file.

    The file is opened non-blocking, so a pipe in the place of a file does not hang the reader. A
    driver that waits inside the kernel still does; see ``sampler`` for what happens then.

    Returns:
        The text without surrounding white space; None if it cannot be read or is not ASCII.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(handle, _READ_BYTES).decode('ascii').strip()
        finally:
            os.close(handle)
    except (OSError, UnicodeDecodeError):
        return None


def read_int(path: str) -> int | None:
    """Read a file that holds one integer; None if it holds anything else."""
    text = read_text(path)
    return int(text) if text is not None and _INTEGER.fullmatch(text) else None


def read_name(path: str) -> str | None:
    """Read a file that holds a short name; None if it is empty, long or not one printable line."""
    text = read_text(path)
    return text if text and text.isprintable() and len(text) <= _NAME_LENGTH else None


def find(root: Path, pattern: str) -> list[str]:
    """List the paths under a root that match a shell pattern, in a stable order."""
    return sorted(glob.glob(os.path.join(glob.escape(str(root)), pattern)))


def plausible(value: float | None, low: float, high: float) -> float | None:
    """Return the value if it is a finite number from ``low`` to ``high``, else None."""
    if value is None or not math.isfinite(value) or not low <= value <= high:
        return None
    return value


class Found(Generic[T]):
    """What a search found; the search is repeated now and then.

    Drivers appear after start-up and packs are swapped, but listing directories costs more than
    reading a value, so it is not done each time.
    """

    def __init__(self, search: Callable[[], T], every: int = 60) -> None:
        """Keep the search.

        Args:
            search: finds the files.
            every: number of calls after which it is repeated.
        """
        self._search = search
        self._every = every
        self._calls = 0
        self._result: T | None = None

    def __call__(self) -> T:
        """Return what was found, searching again if it is time to."""
        if self._result is None or self._calls % self._every == 0:
            self._result = self._search()
        self._calls += 1
        return self._result


class Counters:
    """Files that count events: tells whether one has counted since it was last readable."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def rose(self, paths: Iterable[str]) -> bool | None:
        """Compare with the previous call; a counter that falls has been reset and starts anew.

        Returns:
            True if a counter rose, False if none did, None if there was nothing to compare.
        """
        changes = []
        for path in paths:
            count = read_int(path)
            if count is None:
                continue
            if path in self._last:
                changes.append(count > self._last[path])
            self._last[path] = count
        return any(changes) if changes else None

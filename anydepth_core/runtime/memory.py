"""The memory of this process: how much it is, and giving back what is free."""

from __future__ import annotations

import ctypes
from pathlib import Path
import re


def resident_bytes() -> int | None:
    """Return the resident memory of this process, None where Linux does not tell."""
    try:
        text = Path('/proc/self/status').read_text()
    except OSError:
        return None
    found = re.search(r'^VmRSS:\s+(\d+) kB', text, re.MULTILINE)
    return None if found is None else 1024 * int(found[1])


def give_back_memory() -> None:
    """Return freed memory to the system; glibc keeps it otherwise.

    Building a session leaves about as much behind as the session keeps.
    """
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)

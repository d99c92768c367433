"""Memory and processor time of another process, as Linux tells them; no ROS."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path('/proc')


def resident_mb(pid: int, proc: Path = _PROC) -> float:
    """Return the resident memory of a process in 10^6 bytes."""
    pages = int((proc / str(pid) / 'statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def cpu_seconds(pid: int, proc: Path = _PROC) -> float:
    """Return the processor time of a process so far, user and system."""
    # The second field is the name in brackets and may hold blanks; user and system time are the
    # 14th and 15th.
    after_name = (proc / str(pid) / 'stat').read_text().rpartition(')')[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf('SC_CLK_TCK')

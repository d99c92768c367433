"""Starts and stops the hogs at their moments of a course; no ROS."""

from __future__ import annotations

import os
import sys
import time

from anydepth_ros.processes import NodeProcesses


class Hogs:
    """Busy processes, as nice as this one; a context manager that ends them.

    Attributes:
        from_ns: when they were started, on the clock of the stamps; None until then.
        until_ns: when the last had ended.
    """

    def __init__(self, count: int, from_s: float, until_s: float) -> None:
        """Do nothing yet.

        Args:
            count: how many.
            from_s: when to start them, in seconds of `follow`.
            until_s: when to stop them.
        """
        self.from_ns: int | None = None
        self.until_ns: int | None = None
        self._count, self._from_s, self._until_s = count, from_s, until_s
        self._processes = NodeProcesses()

    def __enter__(self) -> Hogs:
        return self

    def __exit__(self, *exception: object) -> None:
        self._processes.stop()

    def follow(self, elapsed_s: float) -> None:
        """Start or stop them if it is time.

        Args:
            elapsed_s: seconds since the course began.
        """
        if self.from_ns is None and elapsed_s >= self._from_s:
            self.from_ns = time.time_ns()
            self._start()
        elif self.until_ns is None and elapsed_s >= self._until_s:
            self._processes.stop()
            self.until_ns = time.time_ns()

    def _start(self) -> None:
        command = [sys.executable, '-m', 'anydepth_ros.benchmark.contention.hog']
        for number in range(self._count):
            self._processes.run(f'hog {number}', [*command, str(os.getpid())])

"""Nodes as real processes, started with the command line that ``ros2 launch`` builds."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import subprocess
import sys

BIN = Path(sys.executable).parent


class Process:
    """A console script of the package with its output."""

    def __init__(
        self,
        log: Path,
        executable: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        # `colcon test` runs from the sources, where no script is installed.
        module = [sys.executable, '-m', f'anydepth_ros.{executable}']
        script = BIN / executable
        start = [str(script)] if script.is_file() else module
        command = [*start, '--ros-args', *arguments]
        variables = dict(os.environ, ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST')
        with log.open('wb') as file:
            self.popen = subprocess.Popen(
                command, stdout=file, stderr=file, env={**variables, **(environment or {})}
            )

    def output(self) -> str:
        return self._log.read_text()

    def wait(self, timeout_s: float = 30.0) -> int:
        return self.popen.wait(timeout_s)

    def resident_bytes(self) -> int:
        """Return the memory the process holds."""
        pages = int(Path(f'/proc/{self.popen.pid}/statm').read_text().split()[1])
        return pages * os.sysconf('SC_PAGE_SIZE')

"""The camera process seen from the benchmark: orders go in, what was sent comes out."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import select
import subprocess
import sys

from anydepth_ros.benchmark.figures import Sent
from anydepth_ros.processes import NodeProcesses


class CameraProcess:
    """A process of ``anydepth_ros.benchmark.source``."""

    def __init__(self, processes: NodeProcesses, frame: Path, reliability: str) -> None:
        """Start it.

        Args:
            processes: ends it with the others.
            frame: file with the serialised image message.
            reliability: of the image topic.
        """
        command = [sys.executable, '-m', 'anydepth_ros.benchmark.source', str(frame), reliability]
        process = processes.run('camera', command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        self._orders, self._replies = process.stdin, process.stdout

    def play(self, rate_hz: float, seconds: float, meanwhile: Callable[[], object]) -> Sent:
        """Send images for some time.

        Args:
            rate_hz: images per second.
            seconds: how long.
            meanwhile: called again and again until that is done.

        Raises:
            RuntimeError: if the process has ended.
        """
        try:
            self._orders.write(f'{rate_hz} {seconds}\n'.encode())
            self._orders.flush()
        except BrokenPipeError:
            raise RuntimeError('the camera process has ended; see above') from None
        while not select.select([self._replies], [], [], 0)[0]:
            meanwhile()
        line = self._replies.readline()
        if not line:
            raise RuntimeError('the camera process has ended; see above')
        reply = json.loads(line)
        return Sent(rate_hz, seconds, tuple(reply['stamps']), reply['refused'])

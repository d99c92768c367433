"""Starting the builder, watching it and ending it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import json
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO

from anydepth_core.runtime.tensorrt.build_process import Job

COMMAND = (sys.executable, '-m', 'anydepth_core.runtime.tensorrt.build_process')


class Builder:
    """Runs one builder at a time; :meth:`cancel` ends it from any thread."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        """Remember the command; the job is its last argument."""
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def build(self, job: Job, name: str, progress: Callable[[str], None]) -> None:
        """Build an engine in a process of its own and wait for it.

        Args:
            job: what to build.
            name: what the engine is called in messages.
            progress: told what the builder does.

        Raises:
            RuntimeError: if it fails, dies or is cancelled.
        """
        with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as complaints:
            process = self._start(job, complaints)
            try:
                error = self._follow(process, progress)
                status = process.wait()
            finally:
                self._end(process)
            if self._cancelled:
                raise RuntimeError(f'building {name} was cancelled: the runtime is closed')
            if error:
                raise RuntimeError(error)
            if status:
                raise RuntimeError(_explain(name, status, complaints))

    def cancel(self) -> None:
        """End the builder in work and refuse others; the cache stays usable."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    def _start(self, job: Job, complaints: IO[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._cancelled:
                raise RuntimeError('the runtime is closed: make a new one')
            self._process = subprocess.Popen(
                [*self._command, job.to_json()],
                stdin=subprocess.PIPE,  # closed when this process ends: then the builder ends, too
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                encoding='utf-8',
                errors='replace',
            )
            return self._process

    def _follow(self, process: subprocess.Popen[str], progress: Callable[[str], None]) -> str:
        """Pass progress on until the builder ends; return the error it tells."""
        error = ''
        assert process.stdout is not None
        for line in process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if 'progress' in answer:
                progress(answer['progress'])
            error = answer.get('error', error)
        return error

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Leave no builder and no pipe behind, whatever has happened."""
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        with self._lock:
            self._process = None


def _explain(name: str, status: int, complaints: IO[str]) -> str:
    complaints.seek(0)
    last = next((line.strip() for line in reversed(complaints.readlines()) if line.strip()), '')
    hint = f' ({last})' if last else ''
    if status == -signal.SIGKILL:
        return (
            f'the builder of engine {name} was killed, most likely because memory ran out{hint}: '
            "close other programs, add swap, or run 'anydepth build --workspace MB' with less"
        )
    what = f'ended with status {status}'
    if status < 0:
        what = f'crashed with {signal.Signals(-status).name}'
    return (
        f'the builder of engine {name} {what}{hint}: '
        "run 'anydepth build' to see it fail, or use the back end onnxruntime"
    )

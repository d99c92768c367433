"""The ``anydepth`` command: a table of commands, each in a module of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
import sys

from anydepth_core.version import __version__

COMMANDS = (
    'train',
    'evaluate',
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


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog='anydepth', description='Any-depth object detection: one set of weights, any depth.'
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name in COMMANDS:
        module = import_module(f'anydepth_core.commands.{name}')
        module.add_arguments(commands.add_parser(name, help=module.HELP, description=module.HELP))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors that a user can mend are printed in one sentence.

    Returns:
        0 if all went well, 2 after such an error, otherwise what the command says.
    """
    args = build_parser().parse_args(arguments)
    try:
        return import_module(f'anydepth_core.commands.{args.command}').run(args)
    except FileNotFoundError as error:
        print(f'anydepth {args.command}: {error.filename} does not exist', file=sys.stderr)
        return 2
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        print(f'anydepth {args.command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())

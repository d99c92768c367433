"""The options of `anydepth benchmark --node`: which there are, and when they have no effect."""

from __future__ import annotations

import argparse
from typing import Any

_NODE_OPTIONS = (
    'image_size',
    'rate',
    'overload',
    'seconds',
    'reliability',
    'profile',
    'encoding',
    'depth',
    'detections',
    'contention',
    'deadline',
    'rounds',
)
"""Options that need ``--node``; their defaults stand in ``NodeSettings``."""

_NOT_WITH_NODE = {
    'depths': 'give one --depth',
    'compare': 'leave it out',
    'compare_size': 'leave it out',
    'energy_seconds': 'leave it out',
}
_CONTENTION_OPTIONS = ('deadline', 'rounds')
_NOT_WITH_CONTENTION = ('overload', 'depth')


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    node = parser.add_argument_group(
        'the running node',
        'detector_node in a process of its own, with a camera that sends images to it; needs '
        'ROS 2, and stays on this machine',
    )
    node.add_argument('--node', action='store_true', help='measure the node instead of the ladder')
    node.add_argument(
        '--image-size',
        metavar='WxH',
        help='width x height of the images, comma-separated for several runs (1280x720)',
    )
    pace = node.add_mutually_exclusive_group()
    pace.add_argument('--rate', type=float, metavar='HZ', help='images per second (30)')
    pace.add_argument(
        '--overload',
        type=float,
        metavar='N',
        help='send N times faster than the detector answered in the warm-up',
    )
    node.add_argument('--seconds', type=float, help='length of a run after the warm-up (20)')
    node.add_argument('--reliability', help='of the images: reliable or best_effort (reliable)')
    node.add_argument(
        '--profile',
        action='store_true',
        default=None,
        help='use the shared-memory profile config/fastdds_shm.xml in all processes',
    )
    node.add_argument('--encoding', help='of the images: bgr8, rgb8, bgra8, rgba8 or mono8 (bgr8)')
    node.add_argument('--depth', help='depth or level of the detector (full)')
    node.add_argument(
        '--detections',
        type=int,
        metavar='N',
        help='lower the threshold so that images have up to N detections',
    )
    _add_contention_arguments(parser)


def _add_contention_arguments(parser: argparse.ArgumentParser) -> None:
    loop = parser.add_argument_group(
        'the closed loop',
        'with --node: detector and controller while busy processes (hogs) are started and '
        'stopped, beside always full and always base; --seconds is the length of each phase, '
        '--output also writes a picture and every frame (CSV) beside the JSON',
    )
    loop.add_argument(
        '--contention',
        type=int,
        nargs='?',
        const=0,
        metavar='HOGS',
        help='measure that, with so many hogs (0 or no number: one per processor)',
    )
    loop.add_argument(
        '--deadline',
        type=float,
        metavar='MS',
        help='of the controller (derived from what frames take here)',
    )
    loop.add_argument('--rounds', type=int, metavar='N', help='of every policy (3)')


def check_mode(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect.

    Raises:
        ValueError: naming the option and what to do.
    """
    given = [name for name in _NODE_OPTIONS if getattr(args, name) is not None]
    if given and not args.node:
        raise ValueError(f'--{given[0].replace("_", "-")} is for the running node: add --node')
    for name, fix in _NOT_WITH_NODE.items():
        if args.node and getattr(args, name):
            option = name.replace('_', '-')
            raise ValueError(f'--{option} is not for the running node: {fix}')
    closed_loop = args.contention is not None
    for name in _NOT_WITH_CONTENTION if closed_loop else _CONTENTION_OPTIONS:
        if name in given:
            fix = f'leave --{name} out' if closed_loop else 'add --contention'
            raise ValueError(
                f'--{name} is {"not " if closed_loop else ""}for the closed loop: {fix}'
            )


def node_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was given, as fields of ``NodeSettings``."""
    given = {name: getattr(args, name) for name in (*_NODE_OPTIONS, 'output')}
    return {name: value for name, value in given.items() if value is not None}

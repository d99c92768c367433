"""``ros2 run anydepth_ros detect_bag BAG --output OUT``: the command line and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
import sys
from typing import TYPE_CHECKING

from anydepth_core.commands.runtime_options import add_runtime_arguments, runtime_settings
from anydepth_core.errors import sentence

if TYPE_CHECKING:
    from anydepth_ros.bag.run import Summary

_SHOWN_REASONS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 if every image was answered, 1 if some could not be read, 2 after an error that a user
        can mend, 130 if it was stopped.
    """
    args = build_parser().parse_args(arguments)
    try:
        from anydepth_ros.bag.run import detect_bag, Job

        options = {**vars(args), 'runtime': runtime_settings(args)}
        summary = detect_bag(Job(**{one.name: options[one.name] for one in fields(Job)}))
    except ImportError as error:
        return _fail(_import_help(error))
    except (ValueError, RuntimeError, OSError) as error:
        return _fail(sentence(error))
    except KeyboardInterrupt as stop:
        print(f'detect_bag: {str(stop) or "stopped"}, nothing is written', file=sys.stderr)
        return 130
    _say(summary, args.output)
    return 1 if summary.unreadable else 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; its results make a ``Job``."""
    parser = argparse.ArgumentParser(
        prog='detect_bag',
        description='Detect objects on every image of a recorded bag, none dropped, and write a '
        'bag with the detections, label_info and stats that the detector would publish beside '
        'each image topic: /camera/detections for /camera/image_raw.',
        epilog='Exit status: 0, or 1 if some images could not be read (each has its reason in '
        'stats), 2 if nothing could be written.',
    )
    parser.add_argument(
        'bag', type=Path, metavar='BAG', help='folder of a rosbag2, or an .mcap or .db3 file'
    )
    parser.add_argument(
        '--output', type=Path, required=True, metavar='OUT', help='bag to write; must not exist'
    )
    _add_bag_options(parser)
    _add_model_options(parser)
    return parser


def _add_bag_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--topic',
        dest='topics',
        action='append',
        default=[],
        help='image topic, raw or compressed; may be given several times (the only one there is)',
    )
    parser.add_argument(
        '--storage',
        choices=('mcap', 'sqlite3'),
        default='',
        help='storage of the output (as the input)',
    )
    parser.add_argument(
        '--copy', action='store_true', help='also copy every message of the input as it is'
    )
    parser.add_argument(
        '--start',
        dest='start_s',
        type=_seconds,
        default=0.0,
        metavar='S',
        help='begin S seconds after the start of the bag (%(default)s)',
    )
    parser.add_argument('--seconds', type=_seconds, metavar='S', help='stop after S seconds (all)')


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--model', default='default', help="bundle directory, or 'default' (%(default)s)"
    )
    parser.add_argument(
        '--depth',
        default='full',
        help='full, base, bits like 1111-0011 or 1111-0d4, or a ladder level (%(default)s)',
    )
    parser.add_argument(
        '--confidence-threshold',
        dest='confidence',
        type=float,
        default=0.25,
        help='lowest score that is written (%(default)s)',
    )
    parser.add_argument(
        '--iou-threshold',
        dest='iou',
        type=float,
        default=0.7,
        help='boxes of one class that overlap more are merged into the best (%(default)s)',
    )
    parser.add_argument(
        '--max-detections',
        type=int,
        default=300,
        help='most detections of one image (%(default)s)',
    )
    parser.add_argument(
        '--classes', nargs='+', default=[], help='names or indices of the classes to keep (all)'
    )
    parser.add_argument(
        '--class-id-format',
        choices=('index', 'name'),
        default='index',
        help='what class_id holds (%(default)s)',
    )
    add_runtime_arguments(parser)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f'{text} is not legal: give seconds from 0 on')
    return value


def _say(summary: Summary, output: Path) -> None:
    rate = summary.images / summary.seconds if summary.seconds else 0.0
    print(
        f'{summary.images} images, {summary.detections} detections at depth {summary.depth}, '
        f'{rate:.1f} images/s; written to {output}'
    )
    if summary.unreadable:
        reasons = summary.reasons.most_common(_SHOWN_REASONS)
        told = '; '.join(f'{reason} ({count})' for reason, count in reasons)
        more = summary.unreadable - sum(count for _, count in reasons)
        print(
            f'{summary.unreadable} of them could not be read: {told}'
            f'{f"; other reasons ({more})" if more else ""}',
            file=sys.stderr,
        )


def _import_help(error: ImportError) -> str:
    package = (error.name or '').partition('.')[0]
    if package in ('rosbags', 'tqdm'):
        return f"{package} is needed: run `pip install 'rosbags>=0.11' tqdm`"
    return f'{error}: source the ROS workspace first'


def _fail(sentence: str) -> int:
    print(f'detect_bag: {sentence}', file=sys.stderr)
    return 2


if __name__ == '__main__':
    raise SystemExit(main())

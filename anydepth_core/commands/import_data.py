"""``anydepth import``: annotations in YOLO or Pascal VOC form as COCO json."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
import os
from pathlib import Path
import random
from typing import TYPE_CHECKING

from anydepth_core.files import write_atomically

if TYPE_CHECKING:
    from anydepth_core.data.importers.annotations import Imported, LabelledImage

HELP = 'turn YOLO text labels or Pascal VOC annotations into the COCO json of train and evaluate'

_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument('format', choices=('yolo', 'voc'), help='form of the annotations')
    parser.add_argument(
        'source',
        type=Path,
        help='folder of the data set; yolo: with data.yaml, or images/ and labels/; '
        'voc: with *.xml and images at any depth',
    )
    parser.add_argument('--output', required=True, type=Path, help='annotation file to write')
    parser.add_argument(
        '--split',
        help='part to read: an entry of data.yaml (default there: train), a folder images/SPLIT '
        'or SPLIT/images, or ImageSets/Main/SPLIT.txt; default: everything',
    )
    parser.add_argument(
        '--names', type=Path, help='class names, one a line, instead of those of the source'
    )
    parser.add_argument(
        '--val', type=Path, help='second annotation file, for images drawn from the first'
    )
    parser.add_argument(
        '--val-share', type=float, default=0.2, help='share of the images for --val (default 0.2)'
    )
    parser.add_argument('--seed', type=int, default=0, help='which images --val gets')
    parser.add_argument(
        '--report', type=Path, help='text file for all that is refused, a line each'
    )
    parser.add_argument(
        '--strict', action='store_true', help='write nothing if anything is refused'
    )
    parser.add_argument(
        '--skip-difficult',
        action='store_true',
        help='voc: mark difficult objects as crowd, which training and evaluation pass over',
    )
    parser.add_argument(
        '--first-pixel',
        type=int,
        choices=(0, 1),
        default=0,
        help='voc: number of the first pixel; 1 for the original Pascal VOC files',
    )


def run(args: argparse.Namespace) -> int:
    """Read, report and write.

    Returns:
        0, or 1 if something was refused and ``--strict`` was given.

    Raises:
        ValueError: if nothing could be read, or an option does not fit.
    """
    from anydepth_core.data.importers.annotations import class_table

    _check(args)
    imported = _read(args)
    print(class_table(imported.images, imported.names))
    _print_problems(imported)
    if args.report is not None:
        text = ''.join(f'{problem}\n' for problem in imported.problems)
        write_atomically(args.report, text.encode(errors='replace'))
    if args.strict and imported.problems:
        print('nothing was written, because of --strict')
        return 1
    if not any(image.boxes for image in imported.images):
        raise ValueError(f'{args.source} has no object that can be used: nothing was written')
    parts = {args.output: imported.images}
    if args.val is not None:
        parts[args.output], parts[args.val] = _divided(imported.images, args.val_share, args.seed)
    recipe: dict[str, str] = {}
    for path, images in parts.items():
        part = 'val' if _for_validation(path, args) else 'train'
        folder = _write(path, images, imported.names)
        recipe |= {part: _from(args.output, path), f'{part}_images': _from(args.output, folder)}
    entries = ', '.join(f'{key}: {value}' for key, value in recipe.items())
    print(f'in the recipe, with --data {args.output.parent}:  data: {{{entries}}}')
    return 0


def _check(args: argparse.Namespace) -> None:
    if not 0 < args.val_share < 1:
        raise ValueError(f'--val-share is {args.val_share}: give more than 0 and less than 1')
    if args.val is not None and args.val.resolve() == args.output.resolve():
        raise ValueError(f'--val and --output are both {args.output}: give two files')


def _read(args: argparse.Namespace) -> Imported:
    from anydepth_core.data.importers.voc import read_voc, VocOptions
    from anydepth_core.data.importers.yolo import read_yolo
    from anydepth_core.data.importers.yolo_source import open_yolo, read_names

    if args.format == 'yolo':
        return read_yolo(open_yolo(args.source, args.split, args.names))
    names = None if args.names is None else read_names(args.names)
    return read_voc(
        args.source, args.split, names, VocOptions(args.first_pixel, args.skip_difficult)
    )


def _print_problems(imported: Imported) -> None:
    for note in imported.notes:
        print(f'note: {note}')
    for problem in imported.problems[:_SHOWN]:
        print(f'refused: {problem}')
    if len(imported.problems) > _SHOWN:
        print(f'refused: {len(imported.problems) - _SHOWN} more, see --report')


def _divided(
    images: Sequence[LabelledImage], share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Divide images at random; both parts keep their order.

    Raises:
        ValueError: if a part would be empty.
    """
    count = round(share * len(images))
    if not 0 < count < len(images):
        raise ValueError(
            f'{len(images)} images cannot be divided with --val-share {share}: a part is empty'
        )
    drawn = set(random.Random(seed).sample(range(len(images)), count))
    return (
        [image for position, image in enumerate(images) if position not in drawn],
        [image for position, image in enumerate(images) if position in drawn],
    )


def _for_validation(path: Path, args: argparse.Namespace) -> bool:
    return path == args.val or (args.split or path.stem).startswith(('val', 'test'))


def _write(path: Path, images: Sequence[LabelledImage], names: dict[int, str]) -> Path:
    """Write an annotation file; return the folder that its file names start from."""
    from anydepth_core.data.importers.annotations import common_folder, to_coco

    folder = common_folder(images)
    coco = to_coco(images, names, folder)
    write_atomically(path, json.dumps(coco).encode())
    empty = sum(not image.boxes for image in images)
    print(
        f'{path}: {len(images)} images, {empty} of them without objects, '
        f'{len(coco["annotations"])} boxes'
    )
    return folder


def _from(file: Path, path: Path) -> str:
    """Return a path relative to the folder of a file."""
    return Path(os.path.relpath(path, file.absolute().parent)).as_posix()

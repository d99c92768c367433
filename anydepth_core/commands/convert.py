"""``anydepth convert``: published weights of any form as a checkpoint of ours, or a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TYPE_CHECKING

from anydepth_core.commands.export import export_bundle, parse_ladder, parse_size

if TYPE_CHECKING:
    from anydepth_core.checkpoint.read import Checkpoint

HELP = 'convert published weights to a checkpoint or a bundle'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        'source',
        help='AnyDepth-DETR, AnyDepth-YOLO, official RT-DETR or YOLOv12 turbo file, Hugging Face '
        'RT-DETR (directory or safetensors), or a checkpoint of anydepth; pickled code in it is '
        'not run',
    )
    parser.add_argument('--output', type=Path, help='checkpoint to write, *.safetensors')
    parser.add_argument('--bundle', type=Path, help='directory of a bundle to write')
    parser.add_argument(
        '--classes',
        type=Path,
        help='class names, one a line; default: those in the file, or the 80 of COCO where the '
        'file has 80 classes without names',
    )
    parser.add_argument(
        '--size',
        help='input size, for example 640 or 384x640 (height x width); default: 640, or that of '
        'a checkpoint of anydepth',
    )
    parser.add_argument(
        '--variant', help='block layout instead of the usual one, see anydepth_core.build_detector'
    )
    parser.add_argument(
        '--ladder',
        help='levels of the bundle as for anydepth export; default: those of anydepth export, or '
        'only full for weights that were not trained any-depth',
    )


def run(args: argparse.Namespace) -> int:
    """Convert, print what was done; nothing is written when the weights do not fit.

    Raises:
        ValueError: if the source, its classes or an option is not usable.
        RuntimeError: if torch is missing or the bundle differs from torch.
    """
    try:
        from anydepth_core.checkpoint.io import save_checkpoint
        from anydepth_core.checkpoint.read import open_checkpoint
    except ImportError as error:
        raise RuntimeError(
            f'convert needs torch and friends ({error}): see "Training" in the README'
        ) from None

    _check_targets(args)
    checkpoint = open_checkpoint(args.source, variant=args.variant)
    detector, metadata = checkpoint.detector, _metadata(checkpoint, args)
    print(
        f'{args.source}: {checkpoint.form}\n'
        f'{detector.name} ({detector.variant}), {detector.num_classes} classes '
        f'({", ".join(metadata["class_names"][:3])}{", ..." * (detector.num_classes > 3)})\n'
        f'{checkpoint.report}'
    )
    if args.bundle:
        ladder = args.ladder or (None if checkpoint.report.any_depth else 'full')
        height, width = metadata['image_size']
        points = parse_ladder(detector.depth_space, ladder, (height, width))
        export_bundle(detector, metadata, points, (height, width), args.bundle)
    if args.output:
        save_checkpoint(args.output, detector, metadata)
        print(f'checkpoint: {args.output}')
    return 0


def _check_targets(args: argparse.Namespace) -> None:
    if args.output is None and args.bundle is None:
        raise ValueError('nothing to write: give --output FILE.safetensors, --bundle DIR or both')
    if args.output is not None and args.output.suffix != '.safetensors':
        raise ValueError(f'--output {args.output} must end in .safetensors')
    if args.output is not None and args.output.resolve() == Path(args.source).resolve():
        raise ValueError(f'--output {args.output} is the source: give another file')


def _metadata(checkpoint: Checkpoint, args: argparse.Namespace) -> dict[str, Any]:
    """Return what to store with the weights: classes, input size, what the file says."""
    known = dict(checkpoint.metadata)
    size = list(parse_size(args.size)) if args.size else known.get('image_size', [640, 640])
    if size != known.get('image_size'):
        known.pop('metrics', None)  # they are of the other size
    names = _class_names(known, checkpoint.detector.num_classes, args.classes)
    return {**known, 'class_names': names, 'image_size': size}


def _class_names(known: dict[str, Any], num_classes: int, file: Path | None) -> list[str]:
    from anydepth_core.data.coco_classes import COCO_CLASSES

    if file is not None:
        lines = file.read_text(encoding='utf-8').splitlines()
        names = [line.strip() for line in lines if line.strip()]
        if len(names) != num_classes:
            raise ValueError(
                f'--classes {file} names {len(names)} classes, the weights are for {num_classes}'
            )
        return names
    if 'class_names' in known:
        return list(known['class_names'])
    if num_classes == len(COCO_CLASSES):
        return list(COCO_CLASSES)
    raise ValueError(
        f'the weights are for {num_classes} classes, which the file does not name: '
        'give their names, one a line, with --classes FILE'
    )

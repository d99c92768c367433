"""``anydepth export``: from a checkpoint to a bundle, verified against torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
import tempfile
import time
from typing import Any, TYPE_CHECKING

from anydepth_core.depth import DepthSpace, OperatingPoint

if TYPE_CHECKING:
    import onnx

    from anydepth_core.data.coco import CocoDataset
    from anydepth_core.export.point_norms import PointNorms
    from anydepth_core.models.detector import Detector

HELP = 'export a checkpoint as a bundle'

# Facts of a checkpoint that a bundle states elsewhere.
_STATED = ('format', 'name', 'variant', 'num_classes', 'class_names', 'image_size', 'metrics')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument('checkpoint', help='checkpoint of anydepth train, *.safetensors')
    parser.add_argument('--output', required=True, type=Path, help='directory of the bundle')
    parser.add_argument(
        '--ladder',
        help='levels, comma-separated, in any order: a depth, or a depth with an input size '
        'of its own (base@256, full@256x384, height x width); '
        'default: full, backbone refinements only, neck refinements only, base',
    )
    parser.add_argument(
        '--size', help='input size of the bundle; default: the size the detector was trained at'
    )
    parser.add_argument(
        '--data', type=Path, help='COCO json: measure the AP of every level for the bundle'
    )
    parser.add_argument('--images', type=Path, help='folder of the images of --data')
    parser.add_argument(
        '--half',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='store weights of convolutions and linear layers in half precision (default: yes)',
    )
    parser.add_argument(
        '--sampling',
        choices=('grid_sample', 'gather'),
        default='grid_sample',
        help='how RT-DETR samples its maps: one GridSample node, or the same as index arithmetic '
        'for TensorRT versions whose GridSample is wrong (default: grid_sample)',
    )


def run(args: argparse.Namespace) -> int:
    """Export, verify, write the bundle; nothing is written when the verification fails.

    Raises:
        ValueError: if the checkpoint, a depth or a size is not legal.
        RuntimeError: if torch is missing or ONNX and torch differ.
    """
    try:
        from anydepth_core.checkpoint.io import load_checkpoint, read_metadata
    except ImportError as error:
        raise RuntimeError(
            f'export needs torch and friends ({error}): see "Training" in the README'
        ) from None
    from anydepth_core.data.coco import CocoDataset

    metadata = read_metadata(args.checkpoint)
    detector = load_checkpoint(args.checkpoint)
    size = parse_size(args.size) if args.size else _trained_size(metadata)
    points = parse_ladder(detector.depth_space, args.ladder, size)
    if (args.data is None) != (args.images is None):
        raise ValueError('--data and --images belong together: give both or none')
    dataset = None if args.data is None else CocoDataset(args.data, args.images)
    export_bundle(detector, metadata, points, size, args.output, dataset, args.half, args.sampling)
    return 0


def export_bundle(
    detector: Detector,
    metadata: Mapping[str, Any],
    points: list[OperatingPoint],
    size: tuple[int, int],
    output: Path,
    dataset: CocoDataset | None = None,
    half: bool = True,
    sampling: str = 'grid_sample',
    norms: PointNorms | None = None,
) -> None:
    """Export, verify, write the bundle; nothing is written when the verification fails.

    Args:
        detector: detector in evaluation mode; its weights become those of the bundle.
        metadata: facts of the checkpoint: ``class_names``, and what else the bundle shall state.
        points: levels of the ladder, in any order; those that state ``AP`` and
            ``multiply_adds`` keep their figures.
        size: (height, width) of the network input for depths given as text.
        output: directory of the bundle.
        dataset: measure the AP of every level on it.
        half: store weights with two or more axes in half precision.
        sampling: how RT-DETR samples its maps, see ``export_master``.
        norms: statistics of norms of single operating points.

    Raises:
        ValueError: if the class names do not fit, or a value is not legal.
        RuntimeError: if ONNX and torch differ.
    """
    from tqdm import tqdm

    from anydepth_core.export.bundle import write_bundle
    from anydepth_core.export.onnx_export import export_master, load_master_weights
    from anydepth_core.export.verify import check, format_table, verify_cases

    space = detector.depth_space
    class_names = _class_names(metadata, detector.num_classes)
    if dataset is not None and list(dataset.class_names) != class_names:
        raise ValueError(
            f'{dataset.json_path} lists other classes than the checkpoint: '
            'give the data it was trained on, or leave out --data and --images'
        )
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        path = Path(folder, 'master.onnx')
        master = export_master(detector, path, half, sampling)
        seconds = time.monotonic() - started
        print(f'master ONNX: {path.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s')
        load_master_weights(detector, master)
        points = [
            _with_metrics(point, master, metadata, detector, dataset)
            for point in tqdm(points, desc='levels', unit='level', leave=False, disable=None)
        ]
        points.sort(key=lambda point: dict(point.metrics)['multiply_adds'])
        print('ladder:', *(_describe(space, point) for point in points), sep='\n  ')
        # what the ladder serves, and a wider input: no size may be frozen into the master
        cases = [(point.depth, point.image_size) for point in points]
        cases.append((points[-1].depth, (size[0], size[1] + 64)))
        shown = tqdm(cases, desc='verifying', unit='case', leave=False, disable=None)
        differences = verify_cases(detector, master, shown, norms=norms)
        check(differences)
        write_bundle(
            output,
            master_path=path,
            model_name=detector.name,
            variant=detector.variant,
            space=space,
            class_names=class_names,
            image_size=size,
            ladder=points,
            metadata={key: value for key, value in metadata.items() if key not in _STATED},
            resize=detector.resize,
            suppression=detector.suppression,
            norms=norms,
        )
    print(f'bundle: {output}\nmax |ONNX - torch| / max |torch|:\n{format_table(differences)}')


def parse_size(text: str) -> tuple[int, int]:
    """Read an input size such as ``320`` or ``256x384`` (height x width).

    Raises:
        ValueError: if it is no whole number, or pair of them, or no multiple of 32.
    """
    sides = text.strip().lower().split('x')
    if len(sides) > 2 or not all(
        side.isdecimal() and int(side) and not int(side) % 32 for side in sides
    ):
        raise ValueError(f'input size {text!r} is not legal: give 320 or 256x384, multiples of 32')
    return int(sides[0]), int(sides[-1])


def parse_ladder(
    space: DepthSpace, text: str | None, size: tuple[int, int]
) -> list[OperatingPoint]:
    """Read the levels of a ladder; without a text: full, backbone only, neck only, base.

    Args:
        space: the depths of the detector.
        text: depths, comma-separated, each with an optional ``@`` and input size.
        size: (height, width) of levels that name none.

    Raises:
        ValueError: if a depth or a size is not legal.
    """
    if text is None:
        return [OperatingPoint(depth, size) for depth in space.ends_and_halves()]
    points = []
    for word in text.split(','):
        depth, _, own_size = word.partition('@')
        points.append(
            OperatingPoint(space.parse(depth), parse_size(own_size) if own_size else size)
        )
    return list(dict.fromkeys(points))


def _with_metrics(
    point: OperatingPoint,
    master: onnx.ModelProto,
    metadata: Mapping[str, Any],
    detector: Detector,
    dataset: CocoDataset | None,
) -> OperatingPoint:
    """Return the point with its multiply-adds and its AP: measured, or as the checkpoint says.

    A point that states its AP keeps its figures.
    """
    if 'AP' in dict(point.metrics):
        return point
    from anydepth_core.evaluation.complexity import multiply_adds
    from anydepth_core.evaluation.evaluator import evaluate
    from anydepth_core.evaluation.torch_predict import torch_predict
    from anydepth_core.export.specialise import specialise

    known: Mapping[str, float] = {}
    if dataset is not None:
        known = evaluate(torch_predict(detector, point.depth, point.image_size), dataset)
    elif list(point.image_size) == metadata.get('image_size'):
        space = detector.depth_space
        by_depth = {space.parse(key): value for key, value in metadata.get('metrics', {}).items()}
        known = by_depth.get(point.depth, {})
    depth = point.depth
    graph = specialise(master, depth.stages, point.image_size, depth.decoder_layers)
    cost = multiply_adds(graph)['total']
    metrics = {name: round(known[name], 4) for name in ('AP', 'AP50') if name in known}
    return replace(point, metrics=(*metrics.items(), ('multiply_adds', cost)))


def _describe(space: DepthSpace, point: OperatingPoint) -> str:
    height, width = point.image_size
    metrics = dict(point.metrics)
    figures = [f'{name} {metrics[name]:.3f}' for name in ('AP', 'AP50') if name in metrics]
    cost = f'{metrics["multiply_adds"] / 1e9:.3f} G multiply-adds'
    return '  '.join((f'{space.format(point.depth)} at {height}x{width}', cost, *figures))


def _trained_size(metadata: Mapping[str, Any]) -> tuple[int, int]:
    if 'image_size' not in metadata:
        raise ValueError('the checkpoint does not state an input size: give one with --size')
    height, width = metadata['image_size']
    return height, width


def _class_names(metadata: Mapping[str, Any], num_classes: int) -> list[str]:
    names = metadata.get('class_names')
    if not isinstance(names, list) or len(names) != num_classes:
        raise ValueError(
            f'the checkpoint states the class names {names!r}; '
            f'the detector has {num_classes} classes, each needs a name: '
            'give a checkpoint that anydepth train or convert has written'
        )
    return names

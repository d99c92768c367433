"""`anydepth evaluate`: accuracy and latency of a bundle at several depths, as one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
import json
import math
from typing import Any, TYPE_CHECKING

import numpy as np

from anydepth_core.commands.runtime_options import (
    add_runtime_arguments,
    describe,
    runtime_settings,
)
from anydepth_core.depth import DepthSpace, OperatingPoint
from anydepth_core.files import replacing
from anydepth_core.structures import Timing
from anydepth_core.text_table import aligned

if TYPE_CHECKING:
    from anydepth_core.data.coco import CocoDataset
    from anydepth_core.runtime.pipeline import Pipeline

HELP = 'score a bundle at several depths on a COCO data set and time it'

_STEPS = ('preprocess', 'inference', 'postprocess', 'total')
_POSTPROCESS = {'class_nms': 'at confidence 0.001', 'none': 'without threshold and suppression'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        '--bundle', default='default', help="bundle directory, or 'default' (%(default)s)"
    )
    parser.add_argument('--data', required=True, metavar='JSON', help='annotations in COCO format')
    parser.add_argument('--images', required=True, metavar='DIR', help='folder of the images')
    parser.add_argument(
        '--depths',
        default='full,base',
        help='comma-separated: full, base, bits like 1111-0011 or 1111-0d4, or ladder levels '
        '(%(default)s)',
    )
    parser.add_argument('--limit', type=int, metavar='N', help='use the first N images only')
    add_runtime_arguments(parser)
    parser.add_argument(
        '--json', metavar='FILE', help='also write all twelve statistics and the latencies here'
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the table, and write the JSON file if one is asked for.

    Raises:
        ValueError: if bundle, depths, annotations or images are not usable, or their classes
            differ.
        RuntimeError: if an optional package is missing.
    """
    from anydepth_core.data.coco import CocoDataset
    from anydepth_core.runtime.pipeline import load_pipeline

    depths = split_depths(args.depths)
    dataset = CocoDataset(args.data, args.images, limit=args.limit)
    # all depths stay ready, because every image meets each of them
    settings = runtime_settings(args, max_points=len(depths))
    pipeline = load_pipeline(args.bundle, settings)
    try:
        rows = evaluate_depths(pipeline, dataset, depths)
    finally:
        pipeline.close()
    print(
        f'{pipeline.bundle.model_name} ({pipeline.bundle.variant}) on {len(dataset)} images of '
        f'{dataset.json_path}, {describe(settings)}\n'
        'latency: median milliseconds, depths interleaved; postprocess '
        f'{_POSTPROCESS[pipeline.bundle.suppression]}, several labels a box'
    )
    print(format_table(rows))
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(f'{json.dumps(to_json(rows, dataset), indent=2)}\n')
        print(f'wrote {args.json}')
    return 0


@dataclass
class Row:
    """What was measured at one depth.

    Attributes:
        asked: the depth as the user gave it.
        point: the operating point it stands for.
        space: the depths of the detector.
        results: detections of all images in COCO form.
        timings: of each image.
        statistics: filled in when all images are done.
    """

    asked: str
    point: OperatingPoint
    space: DepthSpace
    results: list[dict[str, Any]] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def depth(self) -> str:
        """The depth in bits."""
        return self.space.format(self.point.depth)

    def latency_ms(self) -> dict[str, float]:
        """Median milliseconds of each step and of their sum."""
        steps = [
            [t.preprocess_ms, t.inference_ms, t.postprocess_ms, t.total_ms] for t in self.timings
        ]
        return dict(zip(_STEPS, np.median(steps, axis=0).tolist()))


def split_depths(text: str) -> list[str]:
    """Split a comma-separated list of depths.

    Raises:
        ValueError: if there is none.
    """
    depths = [word.strip() for word in text.split(',') if word.strip()]
    if not depths:
        raise ValueError(f'--depths {text!r} names no depth: give for example full,base')
    return depths


def evaluate_depths(pipeline: Pipeline, dataset: CocoDataset, depths: Sequence[str]) -> list[Row]:
    """Run every depth on every image, depths interleaved so that all meet the same machine load.

    Args:
        pipeline: the loaded bundle.
        dataset: images and annotations with the bundle's classes.
        depths: what to measure, in any form the pipeline takes.

    Returns:
        One row per depth, in the order given.

    Raises:
        ValueError: if a depth is not legal, the classes of bundle and data differ, or an image
            cannot be read.
        RuntimeError: if faster-coco-eval or tqdm is not installed.
    """
    from anydepth_core.evaluation.coco_metric import coco_statistics, require_faster_coco_eval
    from anydepth_core.evaluation.evaluator import batches, to_coco_results
    from anydepth_core.models.postprocess import EVALUATION

    require_faster_coco_eval()
    category_ids = match_classes(pipeline.bundle.class_names, dataset)
    settings = EVALUATION[pipeline.bundle.suppression]
    rows = [Row(name, pipeline.resolve(name), pipeline.bundle.space) for name in depths]
    for row in rows:
        pipeline.prepare(row.point)
        pipeline(dataset.image(0), row.point, settings)  # the first run of a session is slower
    for (index,) in batches(len(dataset), 1, None):
        image = dataset.image(index)
        for row in rows:
            detections, timing = pipeline(image, row.point, settings)
            row.timings.append(timing)
            row.results += to_coco_results(detections, dataset.image_ids[index], category_ids)
    for row in rows:
        row.statistics = coco_statistics(dataset.coco_dict, row.results, dataset.image_ids)
    return rows


def match_classes(class_names: Sequence[str], dataset: CocoDataset) -> tuple[int, ...]:
    """Return the data's category id of each class of the bundle.

    The order of the classes may differ, their names may not.

    Raises:
        ValueError: naming the classes that only one of them has.
    """
    ids = dict(zip(dataset.class_names, dataset.category_ids))
    only_bundle = [name for name in class_names if name not in ids]
    only_data = [name for name in dataset.class_names if name not in set(class_names)]
    if only_bundle or only_data or len(class_names) != len(dataset.class_names):
        raise ValueError(
            f'the {len(class_names)} classes of the bundle are not the '
            f'{len(dataset.class_names)} classes of {dataset.json_path}: only the bundle has '
            f'{_names(only_bundle)}; only the data has {_names(only_data)}'
        )
    return tuple(ids[name] for name in class_names)


def format_table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text with a heading."""
    heading = ('depth', 'stages', 'size', 'AP', 'AP50', 'AP75', *_STEPS)
    lines = [heading] + [_cells(row) for row in rows]
    return aligned(lines, left=3)


def _cells(row: Row) -> tuple[str, ...]:
    accuracy = [row.statistics[name] for name in ('AP', 'AP50', 'AP75')]
    return (
        row.asked,
        row.depth,
        f'{row.point.image_size[0]}x{row.point.image_size[1]}',
        *('-' if math.isnan(value) else f'{value:.3f}' for value in accuracy),
        *(f'{value:.2f}' for value in row.latency_ms().values()),
    )


def to_json(rows: Sequence[Row], dataset: CocoDataset) -> dict[str, Any]:
    """Return all figures in plain types; a statistic without objects is null."""
    return {
        'data': str(dataset.json_path),
        'images': len(dataset),
        'depths': [
            {
                'asked': row.asked,
                'depth': row.depth,
                'image_size': list(row.point.image_size),
                'statistics': {
                    name: None if math.isnan(value) else value
                    for name, value in row.statistics.items()
                },
                'latency_ms': row.latency_ms(),
            }
            for row in rows
        ],
    }


def _names(names: Sequence[str]) -> str:
    return (', '.join(names[:5]) + (', ...' if len(names) > 5 else '')) if names else 'none'

"""`anydepth evaluate`: one table, depths interleaved, classes matched by name."""

from __future__ import annotations

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest

from anydepth_core.commands import evaluate
from anydepth_core.depth import DepthSpace, Ladder, OperatingPoint
from anydepth_core.structures import Detections, Timing

SIZES = ((40, 60), (33, 47), (64, 64))
BOXES = [(0, 5, 5, 5, 20, 20), (1, 2, 10, 10, 12, 20), (2, 5, 0, 0, 50, 40)]
CATEGORIES = ((5, 'nut'), (2, 'bolt'))
SPACE = DepthSpace(('a', 'b', 'c'), 2)
POINTS = (OperatingPoint(SPACE.base, (32, 32)), OperatingPoint(SPACE.full, (64, 64)))


class FakePipeline:
    """Finds everything at full depth and nothing at others; its classes come in another order."""

    def __init__(
        self, class_names: tuple[str, ...] = ('nut', 'bolt'), suppression: str = 'class_nms'
    ) -> None:
        self.bundle = SimpleNamespace(
            class_names=class_names,
            space=SPACE,
            ladder=Ladder(SPACE, POINTS),
            image_size=(64, 64),
            model_name='fake',
            variant='orig',
            suppression=suppression,
        )
        self.confidence = {'class_nms': 0.001, 'none': 0.0}[suppression]
        self.calls: list[tuple[tuple[int, ...], OperatingPoint]] = []
        self.closed = False

    def resolve(self, depth):
        return self.bundle.ladder.parse(depth, self.bundle.image_size)

    def prepare(self, point):
        return point

    def __call__(self, image, point, settings):
        assert (settings.confidence, settings.iou) == (self.confidence, 0.7)
        assert settings.max_detections == 300 and settings.multi_label
        self.calls.append((image.shape, point))
        timing = Timing(1.0, 10.0 * len(self.calls), 2.0)
        if point.depth != SPACE.full:
            return Detections.empty(), timing
        position = SIZES.index(image.shape[:2])
        _, category, left, top, width, height = BOXES[position]
        box = np.array([[left, top, left + width, top + height]], np.float32)
        name = dict(CATEGORIES)[category]
        label = np.array([self.bundle.class_names.index(name)])
        return Detections(box, np.array([0.9], np.float32), label), timing

    def close(self):
        self.closed = True


@pytest.fixture
def command(write_coco, monkeypatch):
    """Return a function that runs the command on the small data set with a given pipeline."""
    json_path, image_dir = write_coco(sizes=SIZES, boxes=BOXES, categories=CATEGORIES)

    def run(pipeline: FakePipeline, *words: str) -> int:
        monkeypatch.setattr(
            'anydepth_core.runtime.pipeline.load_pipeline', lambda *_, **__: pipeline
        )
        parser = argparse.ArgumentParser()
        evaluate.add_arguments(parser)
        return evaluate.run(
            parser.parse_args(['--data', str(json_path), '--images', str(image_dir), *words])
        )

    return run


def test_the_table_has_a_row_per_depth_with_accuracy_and_latency(command, capsys):
    pipeline = FakePipeline()
    assert command(pipeline, '--depths', 'full,base,1') == 0
    lines = capsys.readouterr().out.splitlines()
    heading = next(n for n, line in enumerate(lines) if line.startswith('depth'))
    words = [
        'depth',
        'stages',
        'size',
        'AP',
        'AP50',
        'AP75',
        'preprocess',
        'inference',
        'postprocess',
        'total',
    ]
    assert lines[heading].split() == words
    rows = [line.split() for line in lines[heading + 1 :]]
    assert [row[:6] for row in rows] == [
        ['full', '11-1', '64x64', '1.000', '1.000', '1.000'],
        ['base', '00-0', '64x64', '0.000', '0.000', '0.000'],
        ['1', '11-1', '64x64', '1.000', '1.000', '1.000'],
    ]
    assert all(row[6] == '1.00' and row[8] == '2.00' for row in rows)
    assert pipeline.closed


@pytest.mark.parametrize(
    ('suppression', 'words'),
    [
        ('class_nms', 'postprocess at confidence 0.001, several labels a box'),
        ('none', 'postprocess without threshold and suppression, several labels a box'),
    ],
)
def test_the_published_postprocess_of_the_model_is_used_and_named(
    command, capsys, suppression, words
):
    assert command(FakePipeline(suppression=suppression), '--depths', 'full') == 0
    assert words in capsys.readouterr().out


def test_depths_are_interleaved_after_one_untimed_run_each(command):
    pipeline = FakePipeline()
    command(pipeline, '--depths', 'full,0')
    full, level = POINTS[1], POINTS[0]
    assert [point for _, point in pipeline.calls] == [full, level] * 4
    assert [shape[:2] for shape, _ in pipeline.calls[::2]] == [SIZES[0], *SIZES]


def test_json_holds_all_statistics_and_null_without_objects(command, tmp_path):
    path = tmp_path / 'new' / 'figures.json'
    command(FakePipeline(), '--json', str(path), '--limit', '2')
    figures = json.loads(path.read_text())
    assert figures['images'] == 2
    full, base = figures['depths']
    assert (full['depth'], full['image_size'], full['asked']) == ('11-1', [64, 64], 'full')
    assert full['statistics']['AP'] == pytest.approx(1) and base['statistics']['AP'] == 0
    assert full['statistics']['AP_large'] is None and len(full['statistics']) == 12
    # timed calls are 3 to 6: full took 30 and 50, base 40 and 60
    assert full['latency_ms']['inference'] == 40 and base['latency_ms']['inference'] == 50
    assert full['latency_ms']['total'] == 43
    assert [p.name for p in path.parent.iterdir()] == ['figures.json']


def test_classes_that_differ_are_refused_naming_both_sides(command):
    pipeline = FakePipeline(('nut', 'washer', 'screw'))
    with pytest.raises(
        ValueError, match='only the bundle has washer, screw; only the data has bolt$'
    ):
        command(pipeline)
    assert not pipeline.calls and pipeline.closed


def test_illegal_depths_are_refused(command):
    with pytest.raises(ValueError, match="depth '7' is not legal"):
        command(FakePipeline(), '--depths', 'full,7')
    with pytest.raises(ValueError, match='names no depth'):
        command(FakePipeline(), '--depths', ' , ')

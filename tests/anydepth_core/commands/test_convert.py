"""``anydepth convert``: a published file becomes a checkpoint or a bundle, or nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from anydepth_core import build_detector, cli
from anydepth_core.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from anydepth_core.data.coco_classes import COCO_CLASSES
from anydepth_core.export.bundle import load_bundle
from anydepth_core.models.build import BUILDERS
from anydepth_core.models.detector import Detector
from anydepth_core.models.rtdetr.layout import LAYOUTS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from tests.anydepth_core.support.published import published_state_dict, save_detr, save_yolo


@pytest.fixture(autouse=True)
def narrow_rtdetr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make RT-DETR R18 with the block counts of the real one and an eighth of its width."""
    layout = replace(
        LAYOUTS['rtdetr_r18'], width=8, neck_channels=32, neck_hidden=32, channels=32, hidden=32
    )
    monkeypatch.setitem(BUILDERS, 'rtdetr_r18', partial(AnyDepthRTDETR, 'rtdetr_r18', layout))


def yolo(path: Path, names: Any, any_depth: bool = False, **entries: Any) -> Path:
    torch.manual_seed(0)
    name = 'anydepth_yolov12n' if any_depth else 'yolov12n'
    detector: Detector = build_detector(name, num_classes=len(names))
    return save_yolo(path, published_state_dict(detector, any_depth), names, **entries)


def detr(path: Path, num_classes: int) -> Path:
    torch.manual_seed(0)
    detector: Detector = build_detector('rtdetr_r18', num_classes=num_classes)
    return save_detr(path, published_state_dict(detector, any_depth=False))


def convert(*arguments: object) -> int:
    return cli.main(['convert', *map(str, arguments)])


def test_a_pickled_network_becomes_a_checkpoint_with_its_class_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = yolo(tmp_path / 'best.pt', {0: 'cat', 1: 'dog'}), tmp_path / 'a.safetensors'
    assert convert(source, '--output', output, '--size', '256x384') == 0
    detector, metadata = load_checkpoint(output), read_metadata(output)
    assert (detector.name, detector.num_classes) == ('yolov12n', 2)
    assert metadata['class_names'] == ['cat', 'dog']
    assert metadata['image_size'] == [256, 384]
    assert metadata['source']['file'] == 'best.pt'
    assert metadata['source']['license'] == 'AGPL-3.0'
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f'{source}: torch file, pickled network (model)',
        'yolov12n (orig), 2 classes (cat, dog)',
        '739 tensors taken, none missing, unexpected or misshaped',
        lines[3],
        'not trained any-depth: only full detects well until it is',
        f'checkpoint: {output}',
    ]
    assert 'for the base depth are copies of those for the full depth' in lines[3]


def test_a_coco_file_becomes_a_bundle_with_coco_labels(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(80)]  # what a file without names has
    source, bundle = yolo(tmp_path / 'yolov12n.pt', numbers), tmp_path / 'bundle'
    assert convert(source, '--bundle', bundle, '--size', 64) == 0
    read = load_bundle(bundle)
    assert read.class_names == COCO_CLASSES
    assert (read.image_size, read.suppression) == ((64, 64), 'class_nms')
    assert [read.space.format(point.depth) for point in read.ladder.points] == ['1111-1111']
    assert read.metadata['source']['form'] == 'torch file, pickled network (model)'


def test_a_bundle_of_rtdetr_says_how_it_is_fed(tmp_path: Path) -> None:
    bundle = tmp_path / 'bundle'
    assert convert(detr(tmp_path / 'a.pth', 80), '--bundle', bundle, '--size', 64) == 0
    read = load_bundle(bundle)
    assert (read.model_name, read.resize, read.suppression) == ('rtdetr_r18', 'stretch', 'none')
    assert read.class_names == COCO_CLASSES
    assert [read.space.format(point.depth) for point in read.ladder.points] == ['1111-1d3']


@pytest.mark.parametrize(('any_depth', 'levels'), [(True, 4), (False, 1)])
def test_only_any_depth_files_get_the_whole_ladder_of_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_depth: bool, levels: int
) -> None:
    ladders = []
    monkeypatch.setattr(
        'anydepth_core.commands.convert.export_bundle',
        lambda detector, metadata, points, *rest: ladders.append(points),
    )
    source = yolo(tmp_path / 'a.pt', ['cat', 'dog'], any_depth)
    assert convert(source, '--bundle', tmp_path / 'bundle') == 0
    assert convert(source, '--bundle', tmp_path / 'bundle', '--ladder', 'full,base') == 0
    assert [len(ladder) for ladder in ladders] == [levels, 2]
    assert ladders[0][0].depth.stages == (True,) * 8


def test_our_own_checkpoints_keep_their_facts_but_not_figures_of_another_size(
    tmp_path: Path,
) -> None:
    facts = {'class_names': ['a', 'b'], 'image_size': [64, 64], 'metrics': {'full': {'AP': 0.5}}}
    source = tmp_path / 'own.safetensors'
    save_checkpoint(source, build_detector('yolov12n', num_classes=2), {**facts, 'epoch': 3})
    same, other = tmp_path / 'same.safetensors', tmp_path / 'other.safetensors'
    assert convert(source, '--output', same) == 0
    assert {key: read_metadata(same)[key] for key in (*facts, 'epoch')} == {**facts, 'epoch': 3}
    assert convert(source, '--output', other, '--size', 96) == 0
    assert 'metrics' not in read_metadata(other)
    assert read_metadata(other)['image_size'] == [96, 96]


def test_class_names_can_be_given(tmp_path: Path) -> None:
    names, output = tmp_path / 'names.txt', tmp_path / 'a.safetensors'
    names.write_text('bolt\n nut \n\n')
    assert convert(detr(tmp_path / 'a.pth', 2), '--classes', names, '--output', output) == 0
    assert read_metadata(output)['class_names'] == ['bolt', 'nut']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'nothing to write'),
        (('--output', 'a.pt'), 'must end in .safetensors'),
        (('--output', 'source.safetensors'), 'is the source'),
        (('--output', 'a.safetensors', '--size', '100'), "input size '100' is not legal"),
        (('--output', 'a.safetensors', '--classes', 'three.txt'), 'names 3 classes, the weights'),
        (('--output', 'a.safetensors', '--classes', 'none.txt'), 'none.txt does not exist'),
        (('--output', 'a.safetensors', '--variant', 'switch'), "no variant 'switch'"),
        (('--bundle', 'b', '--ladder', '111'), "depth '111' is not legal"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence_and_nothing_is_written(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    yolo(Path('source.safetensors'), ['cat', 'dog'])
    Path('three.txt').write_text('a\nb\nc\n')
    before = sorted(tmp_path.rglob('*'))
    assert convert('source.safetensors', *arguments) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('number', [3, 79])
def test_classes_without_names_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    source = detr(tmp_path / 'a.pth', number)
    assert convert(source, '--output', tmp_path / 'a.safetensors') == 1
    assert f'weights are for {number} classes, which the file does not name' in (
        capsys.readouterr().err
    )
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']


def test_weights_that_do_not_fit_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = build_detector('rtdetr_r18')
    state = published_state_dict(detector, any_depth=False)
    del state['decoder.enc_output.0.bias']
    source = save_detr(tmp_path / 'a.pth', state)
    assert convert(source, '--output', tmp_path / 'a.safetensors', '--bundle', tmp_path / 'b') == 1
    assert '1 missing (decoder.enc_output.0.bias)' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']


def test_no_checkpoint_is_written_when_the_bundle_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = detr(tmp_path / 'a.pth', 80), tmp_path / 'mine'
    folder.mkdir()
    (folder / 'notes.txt').write_text('not a bundle')
    output = tmp_path / 'a.safetensors'
    assert convert(source, '--output', output, '--bundle', folder, '--size', 64) == 1
    assert 'is not empty and no bundle' in capsys.readouterr().err
    assert not output.exists()
    assert [path.name for path in folder.iterdir()] == ['notes.txt']

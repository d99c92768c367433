"""``anydepth export``: a checked bundle, or none and one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from anydepth_core import cli
from anydepth_core.checkpoint.io import save_checkpoint
from anydepth_core.commands.export import export_bundle, parse_ladder, parse_size
from anydepth_core.export import verify
from anydepth_core.export.bundle import load_bundle
from anydepth_core.export.master import read_facts
from tests.anydepth_core.support.lively import calm_rtdetr, lively_detector

METADATA = {
    'class_names': ['a', 'b', 'c', 'd', 'e'],
    'image_size': [64, 64],
    'metrics': {'full': {'AP': 0.5, 'AP50': 0.9, 'AP75': 0.4}, 'base': {'AP': 0.4, 'AP50': 0.8}},
    'epoch': 7,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path)


def write_checkpoint(folder: Path, **changes: Any) -> Path:
    path = folder / 'detector.safetensors'
    save_checkpoint(path, lively_detector(), {**METADATA, **changes})
    return path


def test_the_bundle_holds_the_ladder_cheapest_first(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'bundle'
    assert (
        cli.main(
            ['export', str(checkpoint), '--output', str(output), '--ladder', 'full,0111-1111,base']
        )
        == 0
    )
    bundle = load_bundle(output)
    assert bundle.class_names == tuple(METADATA['class_names'])
    assert bundle.image_size == (64, 64)
    assert bundle.metadata == {'epoch': 7}
    texts = [bundle.space.format(point.depth) for point in bundle.ladder.points]
    assert texts == ['0000-0000', '0111-1111', '1111-1111']
    base, mixed, full = (dict(point.metrics) for point in bundle.ladder.points)
    assert {'AP', 'AP50', 'multiply_adds'} == set(base) == set(full)
    assert (base['AP'], full['AP50']) == (0.4, 0.9)
    assert set(mixed) == {'multiply_adds'}
    assert base['multiply_adds'] < mixed['multiply_adds'] < full['multiply_adds']
    table = capsys.readouterr().out.split('max |ONNX - torch| / max |torch|:\n')[1]
    assert len(table.splitlines()) == 1 + 2 * (3 + 1)  # both graphs: the ladder, a wider input


def test_figures_of_one_size_are_not_claimed_for_another(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / 'bundle'
    arguments = ['export', str(checkpoint), '--output', str(output), '--ladder', 'base,base@32']
    assert cli.main(arguments) == 0
    small, trained = load_bundle(output).ladder.points
    assert (small.image_size, trained.image_size) == ((32, 32), (64, 64))
    assert 'AP' in dict(trained.metrics)
    assert 'AP' not in dict(small.metrics)


def test_no_bundle_is_written_when_onnx_and_torch_differ(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(verify, 'TOLERANCE', 0.0)
    output = tmp_path / 'bundle'
    assert cli.main(['export', str(checkpoint), '--output', str(output), '--ladder', 'base']) == 1
    assert 'differ from torch' in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ('changes', 'arguments', 'message'),
    [
        ({'class_names': ['a']}, (), 'each needs a name'),
        ({}, ('--ladder', 'full,012'), "depth '012' is not legal"),
        ({}, ('--size', '100'), "input size '100' is not legal"),
        ({}, ('--ladder', 'base@1'), "input size '1' is not legal"),
        ({}, ('--data', 'x.json'), 'belong together'),
    ],
)
def test_what_cannot_be_exported_is_refused_in_a_sentence(
    changes: dict[str, Any],
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_checkpoint(tmp_path, **changes)
    assert cli.main(['export', str(path), '--output', str(tmp_path / 'bundle'), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_the_ap_of_every_level_is_measured_on_request(
    checkpoint: Path, tmp_path: Path, write_coco: Any
) -> None:
    json_path, images = write_coco(
        boxes=[(0, 2, 5, 5, 20, 20)], categories=list(enumerate(METADATA['class_names']))
    )
    output = tmp_path / 'bundle'
    arguments = ['export', str(checkpoint), '--output', str(output), '--ladder', '1100-0000']
    assert cli.main([*arguments, '--data', str(json_path), '--images', str(images)]) == 0
    assert 'AP' in dict(load_bundle(output).ladder.points[0].metrics)


def test_a_detector_with_a_decoder_is_exported_with_its_layers(tmp_path: Path) -> None:
    detector = calm_rtdetr()
    points = parse_ladder(detector.depth_space, 'full,base,0000-1d4@64', (96, 96))
    export_bundle(detector, METADATA, points, (96, 96), tmp_path / 'bundle')
    bundle = load_bundle(tmp_path / 'bundle')
    texts = [bundle.space.format(point.depth) for point in bundle.ladder.points]
    assert sorted(texts) == ['0000-0d2', '0000-1d4', '1111-1d3']
    assert (bundle.resize, bundle.suppression) == ('stretch', 'none')


def test_the_form_of_sampling_is_chosen_on_request(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / 'bundle'
    arguments = ['export', str(checkpoint), '--output', str(output), '--ladder', 'base@32']
    assert cli.main([*arguments, '--sampling', 'gather']) == 0
    assert read_facts(onnx.load(load_bundle(output).master_path))['sampling'] == 'gather'


def test_size_is_a_square_or_height_by_width() -> None:
    assert parse_size('320') == (320, 320)
    assert parse_size(' 256x384') == (256, 384)
    for text in ('0', '32x', 'x32', '32x32x32', '-32', ''):
        with pytest.raises(ValueError, match='is not legal'):
            parse_size(text)

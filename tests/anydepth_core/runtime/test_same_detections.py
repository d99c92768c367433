"""Same detections from torch, ONNX Runtime and the TensorRT back end, at every level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anydepth_core import cli
from anydepth_core.depth import OperatingPoint
from anydepth_core.evaluation.same_detections import compare, compare_all, Detect, match
from anydepth_core.export.bundle import load_bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from anydepth_core.runtime.pipeline import Pipeline
from anydepth_core.runtime.runtime import Runtime
from anydepth_core.runtime.tensorrt import build_process, products
from anydepth_core.structures import Detections
from tests.anydepth_core.runtime.tensorrt.support import Rig
from tests.anydepth_core.support.toy_bundle import picture, write_toy_bundle


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Make detections of (left, top, right, bottom, score, label)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


ONE = (10, 10, 30, 30, 0.9, 0)


@pytest.mark.parametrize(
    ('other', 'same'),
    [
        (ONE, True),
        ((10.4, 10, 30, 30, 0.9, 0), True),
        ((10.6, 10, 30, 30, 0.9, 0), False),
        ((10, 10, 30, 30, 0.892, 0), True),
        ((10, 10, 30, 30, 0.88, 0), False),
        ((10, 10, 30, 30, 0.9, 1), False),
        ((60, 60, 80, 80, 0.9, 0), False),
    ],
)
def test_box_score_and_class_must_agree(other: Any, same: bool) -> None:
    assert compare([detections(ONE)], [detections(other)]).same == same
    assert compare([detections(other)], [detections(ONE)]).same == same


@pytest.mark.parametrize(('score', 'same'), [(0.255, True), (0.27, False)])
def test_only_at_the_threshold_may_one_side_find_more(score: float, same: bool) -> None:
    more = detections(ONE, (60, 60, 80, 80, score, 0))
    assert compare([detections(ONE)], [more]).same == same
    assert compare([more], [detections(ONE)]).same == same


def test_a_detection_has_one_partner_and_the_nearest() -> None:
    twins = detections((12, 10, 32, 30, 0.9, 0), ONE)
    rows, columns = match(detections(ONE), twins)
    assert (rows.tolist(), columns.tolist()) == ([0], [1])
    assert compare([detections(ONE)], [twins]).unmatched == 1


def test_images_without_detections_are_the_same() -> None:
    assert compare([Detections.empty()], [Detections.empty()]).same


def run_with(bundle: Any, runtime: Runtime) -> Detect:
    pipeline = Pipeline(bundle, runtime)
    return lambda image, point: pipeline(image, point)[0]


def test_back_ends_agree_on_the_default_bundle(
    pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('torch', reason='the torch detector is one of the candidates')
    from anydepth_core.commands.bundle import torch_detect
    from anydepth_core.data.pictures import read_pictures

    monkeypatch.setattr(products, 'IMAGES', 1)
    monkeypatch.setattr(build_process, 'TIMED_RUNS', 1)
    bundle = load_bundle(pytestconfig.rootpath / 'config/models/default')
    images = list(read_pictures(pytestconfig.rootpath / 'config/media/fod_clip.mp4', 4))
    rig = Rig(bundle, tmp_path / 'engines')
    rig.build(*bundle.ladder.points)
    with rig.runtime() as tensorrt:
        candidates = {
            'ONNX Runtime': run_with(bundle, OnnxRuntime(bundle, RuntimeSettings(threads=1))),
            'TensorRT fp16': run_with(bundle, tensorrt),
            'torch': torch_detect(bundle),
        }
        results = list(compare_all(candidates, bundle.ladder.points, images))
    assert len(results) == 3 * len(bundle.ladder.points)
    for point, one, other, comparison in results:
        assert comparison.same and comparison.matched, (point, one, other, str(comparison))


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / 'toy').path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import cv2

    path = tmp_path / 'images'
    path.mkdir()
    for number in range(3):
        assert cv2.imwrite(str(path / f'{number}.png'), picture((number, 1, number)))
    return path


def test_the_command_compares_a_precision(
    toy: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['bundle', 'verify', str(toy), '--images', str(folder), '--precision', 'fp16']
    assert cli.main([*arguments, '--threads', '1']) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == 'the same detections in 3 images'
    assert out[-2].startswith('level 2, onnxruntime (cpu, fp32) and onnxruntime (cpu, fp16): 3 ')


def test_the_command_fails_where_detections_differ(
    toy: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    honest: Callable[..., Any] = OnnxRuntime.run

    def shifted(self: OnnxRuntime, images: np.ndarray, point: OperatingPoint) -> Any:
        boxes, scores = honest(self, images, point)
        return boxes + (self._settings.precision == 'fp16'), scores

    monkeypatch.setattr(OnnxRuntime, 'run', shifted)
    arguments = ['bundle', 'verify', str(toy), '--images', str(folder), '--precision', 'fp16']
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert 'DIFFERENT' in captured.out
    assert captured.err.startswith('anydepth bundle: 2 of the comparisons differ by more than')


def test_the_command_does_not_call_empty_images_the_same(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    assert cv2.imwrite(str(tmp_path / 'black.png'), picture())
    arguments = ['bundle', 'verify', str(toy), '--images', str(tmp_path), '--precision', 'fp16']
    assert cli.main(arguments) == 1
    assert 'nothing was found' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--precision', 'fp16'], 'give --images'),
        (['--images', 'nowhere', '--precision', 'fp16'], 'nowhere does not exist'),
        (['--images', '{folder}', '--count', '0', '--torch'], '--count 0 is not legal'),
        (['--images', '{folder}'], 'give another --backend'),
        (['--images', '{toy}', '--precision', 'fp16'], 'holds no image'),
    ],
)
def test_the_command_says_what_it_needs(
    toy: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    given = [argument.format(toy=toy, folder=folder) for argument in arguments]
    assert cli.main(['bundle', 'verify', str(toy), *given]) == 1
    assert sentence in capsys.readouterr().err

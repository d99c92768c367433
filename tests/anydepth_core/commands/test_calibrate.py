"""``anydepth calibrate``: a bundle with a measured ladder, or nothing and one sentence."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from anydepth_core import cli
from anydepth_core.checkpoint.io import save_checkpoint
from anydepth_core.commands import calibrate
from anydepth_core.commands.calibrate import (
    augmentation_of,
    parse_depths,
    parse_sizes,
    recalibrated,
)
from anydepth_core.commands.calibration_report import read_peers
from anydepth_core.config import to_mapping
from anydepth_core.data.augment import AugmentSettings
from anydepth_core.depth import DepthSpace, OperatingPoint
from anydepth_core.evaluation.torch_predict import detector_of_bundle
from anydepth_core.export import verify
from anydepth_core.export.bundle import load_bundle
from tests.anydepth_core.support.lively import lively_detector

CLASSES = ['a', 'b', 'c', 'd', 'e']
SPACE = DepthSpace(('a', 'b', 'c'), 2, decoder_layers=6)


@pytest.fixture
def words(tmp_path: Path, write_coco: Any) -> list[str]:
    """Return the arguments of a small calibration whose output is ``tmp_path / 'bundle'``."""
    metadata = {'class_names': CLASSES, 'image_size': [64, 64], 'epoch': 7}
    save_checkpoint(tmp_path / 'd.safetensors', lively_detector(), metadata)
    json_path, images = write_coco(
        boxes=[(0, 2, 5, 5, 20, 20)], categories=list(enumerate(CLASSES))
    )
    training = tmp_path / 'training'
    training.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(training / f'{number}.png'), picture)
    data = ['--data', str(json_path), '--images', str(images)]
    output = ['--output', str(tmp_path / 'bundle')]
    return ['calibrate', str(tmp_path / 'd.safetensors'), *data, *output]


@pytest.fixture
def rising_ap(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let AP rise with depth and size, and be higher where norms were re-estimated."""
    from anydepth_core.evaluation import calibrate as search
    from anydepth_core.evaluation.size_and_class import Breakdown, ClassFigures, SIZES

    fresh = lively_detector()
    stem = fresh.get_buffer('backbone.stem.0.norm.running_mean')
    asked: dict[str, int] = {}

    def accuracy(bench: Any, detector: Any, depth: Any, size: tuple[int, int]) -> Breakdown:
        name = f'{detector.depth_space.format(depth)}@{size[0]}'
        asked[name] = asked.get(name, 0) + 1
        trained = detector.get_buffer('backbone.stem.0.norm.running_mean').allclose(stem)
        ap = 0.2 + 0.02 * sum(depth.stages) + 0.003 * size[0] - 0.1 * trained
        statistics = dict.fromkeys(('AP', 'AP50', 'AR_100'), ap)
        sizes = {f'{kind}_{size}': ap for kind in ('AP', 'AR') for size in SIZES}
        return Breakdown({**statistics, **sizes}, (ClassFigures('a', 3, ap, ap),))

    monkeypatch.setattr(search.Bench, 'accuracy', accuracy)
    # random weights behind fitting norms amplify rounding
    monkeypatch.setattr(verify, 'TOLERANCE', 0.1)
    return asked


def test_the_bundle_gets_the_measured_ladder_and_the_new_norms(
    words: list[str],
    rising_ap: dict[str, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    extra = ['--calibration-images', str(tmp_path / 'training'), '--sizes', '64,32']
    extra += ['--depths', 'full,base,1111-0000', '--levels', '3', '--runs', '1']
    peers = tmp_path / 'peers.csv'
    peers.write_text('name,AP,multiply_adds,inference_ms\nother,0.3,9000000,\nother,0.4,,5\n')
    extra += [
        '--peers',
        str(peers),
        '--csv',
        str(tmp_path / 'p.csv'),
        '--picture',
        str(tmp_path / 'p.png'),
    ]
    pytest.importorskip('matplotlib', reason='the picture is drawn')
    assert cli.main([*words, *extra]) == 0
    bundle = load_bundle(tmp_path / 'bundle')
    points = bundle.ladder.points
    assert len(points) == 3 and [points[0].image_size, points[-1].image_size] == [
        (32, 32),
        (64, 64),
    ]
    aps = [dict(point.metrics)['AP'] for point in points]
    costs = [dict(point.metrics)['multiply_adds'] for point in points]
    assert aps == sorted(set(aps)) and costs == sorted(set(costs))
    assert bundle.metadata['calibration']['norms'] == 'all'
    assert bundle.metadata['epoch'] == 7
    with (tmp_path / 'p.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert {row['level'] for row in rows} == {'', '0', '1', '2'}
    assert {row['norms'] for row in rows} == {'all', 'trained'}
    assert cv2.imread(str(tmp_path / 'p.png')) is not None
    text = capsys.readouterr().out
    assert 'by object size' in text and 'per class' in text and 'depth alone' in text
    restored = detector_of_bundle(bundle)
    name = 'backbone.stem.0.norm.running_mean'
    assert not restored.get_buffer(name).allclose(lively_detector().get_buffer(name))


def test_the_guided_search_measures_a_chain_and_each_point_once(
    words: list[str], rising_ap: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[OperatingPoint] = []
    monkeypatch.setattr(
        calibrate, 'export_bundle', lambda detector, facts, points, *_: written.extend(points)
    )
    assert cli.main([*words, '--sizes', '64', '--runs', '0', '--levels', '4']) == 0
    assert set(rising_ap.values()) == {1}
    # full, one refinement less (8), the rest of the chain, the two halves
    assert {'1111-1111@64', '0000-0000@64', '1111-0000@64', '0000-1111@64'} <= set(rising_ap)
    assert 9 < len(rising_ap) < 20
    bits = [sum(point.depth.stages) for point in written]
    assert len(bits) == 4 and bits == sorted(set(bits))


def test_a_bundle_can_be_calibrated_again(
    words: list[str], rising_ap: dict[str, int], tmp_path: Path
) -> None:
    short = ['--sizes', '32', '--runs', '0', '--depths', 'full,base', '--levels', '2']
    assert cli.main([*words, *short]) == 0
    again = [words[0], str(tmp_path / 'bundle'), *words[2:]]
    assert cli.main([*again, *short, '--floor-ap', '0.3']) == 0
    assert [sum(p.depth.stages) for p in load_bundle(tmp_path / 'bundle').ladder.points] == [8]


def test_the_augmentation_of_the_recipe_gives_one_more_estimate(
    tmp_path: Path, words: Any
) -> None:
    settings = AugmentSettings(scale=0.3, mosaic=0.5)
    facts = {'recipe': {'augment': to_mapping(settings)}}
    assert augmentation_of(facts) == settings
    args = SimpleNamespace(calibration_images=tmp_path / 'training', calibration_count=16)
    detector = lively_detector()
    known = recalibrated(detector, ((64, 64), (32, 32)), settings, args)
    assert list(known) == ['base', 'all', 'base, augmented', 'mixed, augmented']
    statistics = [one.get_buffer('backbone.stem.0.norm.running_mean') for one in known.values()]
    # the stem has no norm_base
    assert len({tuple(one.tolist()) for one in statistics}) == 3
    assert list(recalibrated(detector, ((32, 32),), None, args)) == ['base', 'all']


@pytest.mark.parametrize(
    'facts', [{}, {'recipe': None}, {'recipe': {'augment': {'fog': 1}}}, {'recipe': {}}]
)
def test_an_unknown_augmentation_is_none(facts: dict[str, Any]) -> None:
    assert augmentation_of(facts) is None


def test_an_interrupted_calibration_writes_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrate, 'time_points', interrupt)
    before = set(tmp_path.iterdir())
    assert cli.main([*words, '--sizes', '32', '--depths', 'full,base', '--levels', '2']) == 130
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ('extra', 'message'),
    [
        (['--levels', '1'], 'at least 2 --levels'),
        (['--sizes', '33'], "input size '33' is not legal"),
        (['--depths', 'full,012'], "depth '012' is not legal"),
        (['--calibration-images', 'nowhere'], 'nowhere holds no images'),
        (['--sizes', '32', '--depths', 'full,base', '--floor-ap', '0.99'], 'reaches AP 0.99'),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_a_sentence(
    extra: list[str],
    message: str,
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([*words, *extra]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / 'bundle').exists()


def test_peers_are_read_by_name_and_a_bad_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'peers.csv'
    path.write_text('name,AP,multiply_adds\nn,0.3,2e9\ns,0.4,\nn,0.5,4e9\n')
    peers = read_peers(path)
    assert {name: [(d.ap, d.giga) for d in dots] for name, dots in peers.items()} == {
        'n': [(0.3, 2.0), (0.5, 4.0)],
        's': [(0.4, None)],
    }
    path.write_text('name,AP\nn,0.3\nn,high\n')
    with pytest.raises(ValueError, match='row 2 .* needs name, AP'):
        read_peers(path)


def test_sizes_without_a_choice_are_shares_of_the_size_of_the_source():
    assert parse_sizes(None, (320, 320)) == ((320, 320), (256, 256), (224, 224))
    assert parse_sizes(None, (32, 64)) == ((32, 64), (32, 32))
    assert parse_sizes('64,32x96,64', (320, 320)) == ((64, 64), (32, 96))


def test_depths_may_be_guided_all_or_named():
    assert parse_depths(SPACE, 'guided') is None
    assert len(parse_depths(SPACE, 'all') or ()) == 8 + 1  # base has fewer decoder layers
    assert parse_depths(SPACE, 'base,full,base') == (SPACE.base, SPACE.full)

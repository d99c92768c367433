"""``anydepth calibrate``: a bundle with a measured ladder and norms, or one sentence."""

from __future__ import annotations

import csv
from pathlib import Path
import re
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
    norms_estimator,
    parse_depths,
    parse_sizes,
    read_source,
)
from anydepth_core.commands.calibration_report import picture_of, read_peers
from anydepth_core.config import to_mapping
from anydepth_core.data.augment import AugmentSettings
from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.evaluation.calibrate import Size
from anydepth_core.evaluation.ladder_picture import Picture
from anydepth_core.evaluation.recalibrate import (
    augmented_batches_of,
    batches_of,
    image_files,
    statistics_at,
)
from anydepth_core.evaluation.torch_predict import detector_of_bundle
from anydepth_core.export import verify
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.export.onnx_export import build_master, with_norms
from tests.anydepth_core.support.lively import lively_detector
from tests.anydepth_core.support.toy_bundle import write_toy_bundle

CLASSES = ['a', 'b', 'c', 'd', 'e']
SPACE = DepthSpace(('a', 'b', 'c'), 2, decoder_layers=6)
GAIN = 0.05
STEM = 'backbone.stem.0.norm.running_mean'
AUGMENT = AugmentSettings(scale=0.3, mosaic=0.5)
SHORT = ['--sizes', '32', '--runs', '0', '--depths', 'full,base', '--levels', '2']


@pytest.fixture
def words(tmp_path: Path, write_coco: Any) -> list[str]:
    """Return the arguments of a small calibration whose output is ``tmp_path / 'bundle'``."""
    recipe = {'augment': to_mapping(AUGMENT)}
    metadata = {'class_names': CLASSES, 'image_size': [64, 64], 'epoch': 7, 'recipe': recipe}
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
    """Let AP rise with depth and size, and with own norms below full depth."""
    from anydepth_core.evaluation import calibrate as search
    from anydepth_core.evaluation.size_and_class import Breakdown, ClassFigures, SIZES

    stem = lively_detector().get_buffer(STEM)
    asked: dict[str, int] = {}

    def accuracy(bench: Any, detector: Any, depth: Any, size: tuple[int, int]) -> Breakdown:
        name = f'{detector.depth_space.format(depth)}@{size[0]}'
        asked[name] = asked.get(name, 0) + 1
        own = not detector.get_buffer(STEM).allclose(stem)
        ap = 0.2 + 0.02 * sum(depth.stages) + 0.003 * size[0]
        ap += GAIN * (own and not all(depth.stages))
        statistics = dict.fromkeys(('AP', 'AP50', 'AR_100'), ap)
        sizes = {f'{kind}_{size}': ap for kind in ('AP', 'AR') for size in SIZES}
        return Breakdown({**statistics, **sizes}, (ClassFigures('a', 3, ap, ap),))

    monkeypatch.setattr(search.Bench, 'accuracy', accuracy)
    # random weights behind fitting norms amplify rounding
    monkeypatch.setattr(verify, 'TOLERANCE', 0.1)
    return asked


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def keys_of(rows: list[dict[str, str]], bundle: Bundle) -> set[tuple[DepthConfig, Size]]:
    """Return depth and input size of rows of the CSV."""
    return {
        (bundle.space.parse(row['depth']), (int(row['height']), int(row['width']))) for row in rows
    }


def test_the_bundle_gets_the_measured_ladder_and_its_norms(
    words: list[str],
    rising_ap: dict[str, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    extra = ['--calibration-images', str(tmp_path / 'training'), '--sizes', '64,32']
    extra += ['--depths', 'full,base,1111-0000', '--levels', '3', '--runs', '1']
    extra += ['--csv', str(tmp_path / 'p.csv')]
    assert cli.main([*words, *extra]) == 0
    assert set(rising_ap.values()) == {2} and len(rising_ap) == 6
    bundle = load_bundle(tmp_path / 'bundle')
    points = bundle.ladder.points
    assert [points[0].image_size, points[-1].image_size] == [(32, 32), (64, 64)]
    aps = [dict(point.metrics)['AP'] for point in points]
    costs = [dict(point.metrics)['multiply_adds'] for point in points]
    assert len(points) == 3 and aps == sorted(set(aps)) and costs == sorted(set(costs))
    assert bundle.metadata['epoch'] == 7

    rows = rows_of(tmp_path / 'p.csv')
    assert list(rows[0]) == [
        *('depth', 'height', 'width', 'multiply_adds', 'AP', 'norms'),
        *('AP_trained_norms', 'AP_own_norms', 'inference_ms', 'level'),
    ]
    assert len(rows) == 6 and {row['level'] for row in rows} == {'', '0', '1', '2'}
    for row in rows:
        own = '0' in row['depth']
        assert row['norms'] == ('own' if own else 'trained')
        gained = float(row['AP_own_norms']) - float(row['AP_trained_norms'])
        assert gained == pytest.approx(GAIN * own, abs=1e-6)
        assert row['AP'] == row['AP_own_norms' if own else 'AP_trained_norms']
    assert all(row['inference_ms'] for row in rows if row['level'])

    # norms of the ladder, and of full and base at the size of the bundle
    of_base = [row for row in rows if row['height'] == '64' and '1' not in row['depth']]
    owning = [row for row in rows if row['norms'] == 'own']
    expected = keys_of([row for row in owning if row['level']] + of_base, bundle)
    assert set(bundle.norms) == expected < keys_of(owning, bundle)
    assert (bundle.space.base, (64, 64)) in expected
    assert bundle.metadata['calibration'] == {
        'images': 1,
        'points_measured': 6,
        'own_norms': len(expected),
    }

    text, log = capsys.readouterr()
    assert len(re.findall(r'^measuring [01-]+@(?:32|64)$', log, re.MULTILINE)) == 6
    assert 'by object size' in text and 'per class' in text and 'depth alone' in text
    by_level = sorted((row for row in rows if row['level']), key=lambda row: row['level'])
    assert [line.split()[2:6] for line in text.splitlines() if ' M ' in line] == [
        [row['AP'][:5], row['norms'], row['AP_trained_norms'][:5], row['AP_own_norms'][:5]]
        for row in by_level
    ]
    trained = lively_detector().get_buffer(STEM)
    assert detector_of_bundle(bundle).get_buffer(STEM).equal(trained)
    first = bundle.norms[points[0].depth, (32, 32)]
    own = with_norms(detector_of_bundle(bundle), first).get_buffer(STEM)
    assert not own.allclose(trained)
    np.testing.assert_array_equal(own, bundle.norms[points[0].depth, (32, 32)][STEM])
    last = bundle.norms.get((points[-1].depth, points[-1].image_size), {})
    assert with_norms(detector_of_bundle(bundle), last).get_buffer(STEM).equal(trained)


def test_the_picture_shows_peers_and_what_own_norms_changed(
    words: list[str],
    rising_ap: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('matplotlib', reason='the picture is drawn')
    made: list[Picture] = []

    def recorded(*args: Any) -> Picture:
        made.append(picture_of(*args))
        return made[0]

    monkeypatch.setattr(calibrate, 'picture_of', recorded)
    peers = tmp_path / 'peers.csv'
    peers.write_text('name,AP,multiply_adds,inference_ms\nother,0.3,9000000,\nother,0.4,,5\n')
    extra = ['--peers', str(peers), '--picture', str(tmp_path / 'p.png')]
    extra += ['--calibration-images', str(tmp_path / 'training')]
    monkeypatch.setattr(calibrate, 'export_bundle', lambda *_, **__: None)
    assert cli.main([*words, *SHORT, *extra]) == 0
    assert cv2.imread(str(tmp_path / 'p.png')) is not None
    (picture,) = made
    assert len(picture.points) == 4 and len(picture.peers['other']) == 2
    base, full = picture.ladder
    (before,) = picture.uncalibrated
    assert (before.giga, before.ap) == (base.giga, pytest.approx(base.ap - GAIN))
    assert full.ap > base.ap


def test_the_guided_search_measures_a_chain_and_each_point_once(
    words: list[str], rising_ap: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[OperatingPoint] = []
    monkeypatch.setattr(
        calibrate,
        'export_bundle',
        lambda detector, facts, points, *_, norms: written.extend(points) or None,
    )
    assert cli.main([*words, '--sizes', '64', '--runs', '0', '--levels', '4']) == 0
    assert set(rising_ap.values()) == {1}
    # full, one refinement less (8), the rest of the chain, the two halves
    assert {'1111-1111@64', '0000-0000@64', '1111-0000@64', '0000-1111@64'} <= set(rising_ap)
    assert 9 < len(rising_ap) < 20
    bits = [sum(point.depth.stages) for point in written]
    assert len(bits) == 4 and bits == sorted(set(bits))


def test_a_bundle_can_be_calibrated_again(
    words: list[str],
    rising_ap: dict[str, int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = ['--calibration-images', str(tmp_path / 'training')]
    assert cli.main([*words, *SHORT, *images]) == 0
    before = load_bundle(tmp_path / 'bundle')
    assert {depth for depth, _ in before.norms} == {before.space.base}
    assert augmentation_of(read_source(str(before.path))[1]) == AUGMENT
    # from the norms as trained, not from those of base; nothing is known of others without images
    again = [words[0], str(before.path), *words[2:], '--csv', str(tmp_path / 'p.csv')]
    assert 'norms of its own' not in caplog.text
    assert cli.main([*again, *SHORT, '--floor-ap', '0.3']) == 0
    assert 'norms of its own for single operating points, and the new bundle' in caplog.text
    rows = [row for row in rows_of(tmp_path / 'p.csv') if row['height'] == '64']
    assert [(row['norms'], row['AP'], row['AP_own_norms']) for row in rows] == [
        ('trained', '0.3920', ''),
        ('trained', '0.5520', ''),
    ]
    bundle = load_bundle(tmp_path / 'bundle')
    assert [sum(point.depth.stages) for point in bundle.ladder.points] == [8]
    assert bundle.norms == {} and bundle.metadata['calibration']['own_norms'] == 0
    assert bundle.files['master.onnx'] == before.files['master.onnx']


def test_a_ladder_can_be_kept_and_gets_norms_and_figures(
    words: list[str], rising_ap: dict[str, int], tmp_path: Path
) -> None:
    detector = lively_detector()
    space = detector.depth_space
    places = [(space.parse('0000-1111'), (32, 32)), (space.full, (32, 32)), (space.full, (64, 64))]
    before = write_toy_bundle(
        tmp_path / 'bundle',
        master=build_master(detector),
        model_name=detector.name,
        variant=detector.variant,
        space=space,
        class_names=CLASSES,
        image_size=(64, 64),
        ladder=[OperatingPoint(*place) for place in places],
    )
    again = [words[0], str(before.path), *words[2:], '--runs', '0', '--keep-ladder']
    assert cli.main([*again, '--calibration-images', str(tmp_path / 'training')]) == 0
    bundle = load_bundle(tmp_path / 'bundle')
    assert [(point.depth, point.image_size) for point in bundle.ladder.points] == places
    ends = {'1111-1111@64', '0000-0000@64'}
    assert set(rising_ap) == {'0000-1111@32', '1111-1111@32', *ends}
    assert set(bundle.norms) == {places[0], (space.base, (64, 64))}
    aps = [dict(point.metrics)['AP'] for point in bundle.ladder.points]
    assert aps == pytest.approx([0.376 + GAIN, 0.456, 0.552])


def test_norms_are_estimated_at_the_point_with_the_augmentation_of_the_recipe(
    tmp_path: Path, words: list[str]
) -> None:
    args = SimpleNamespace(calibration_images=tmp_path / 'training', calibration_count=16)
    detector = lively_detector()
    depth, size = detector.depth_space.parse('1111-0000'), (32, 64)
    files = image_files(tmp_path / 'training', 16)
    plain = batches_of(files, [size], detector.resize)
    varied = augmented_batches_of(files, size, detector.resize, AUGMENT)
    expected = [statistics_at(detector, images, depth) for images in (plain, varied)]
    for augment, wanted in zip((None, AUGMENT), expected):
        found = norms_estimator(detector, augment, args)(depth, size)  # type: ignore[arg-type]
        assert sorted(found) == sorted(wanted)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert not np.allclose(expected[0][STEM], expected[1][STEM])


def test_the_augmentation_comes_from_the_recipe_of_the_source(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[AugmentSettings | None] = []

    def estimator(detector: object, augment: AugmentSettings | None, args: object) -> None:
        asked.append(augment)
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrate, 'norms_estimator', estimator)
    assert cli.main([*words, *SHORT, '--calibration-images', str(tmp_path / 'training')]) == 130
    assert asked == [AUGMENT]


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
        (['--keep-ladder'], 'd.safetensors is no bundle'),
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
    lines = capsys.readouterr().err.splitlines()
    (error,) = [line for line in lines if not line.startswith('measuring ')]
    assert message in error
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

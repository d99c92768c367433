"""Re-estimated norms: the average over all batches and depths, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='norms are re-estimated in torch')

from anydepth_core.data.augment import AugmentSettings  # noqa: E402
from anydepth_core.depth import DepthConfig  # noqa: E402
from anydepth_core.evaluation.recalibrate import (  # noqa: E402
    augmented_batches_of,
    batches_of,
    image_files,
    recalibrate,
    statistics_at,
)
from anydepth_core.models.detector import Detector  # noqa: E402
from tests.anydepth_core.support.lively import lively_detector  # noqa: E402
from tests.anydepth_core.support.tiny_rtdetr import lively_rtdetr  # noqa: E402


@pytest.fixture
def detector() -> Detector:
    return lively_detector()


def state(detector: Detector) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in detector.state_dict().items()}


def changed(before: dict[str, torch.Tensor], detector: Detector) -> set[str]:
    now = detector.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, now[name])}


def test_the_first_norm_gets_the_statistics_of_its_input(detector: Detector) -> None:
    batches = [torch.rand(4, 3, 64, 64) + shift for shift in (0.0, 1.0, 5.0)]
    recalibrate(detector, batches, ['full'])
    stem = detector.get_submodule('backbone.stem.0')
    with torch.no_grad():
        maps = [stem.conv(batch).transpose(0, 1).flatten(1) for batch in batches]
    mean = torch.stack([one.mean(1) for one in maps]).mean(0)
    variance = torch.stack([one.var(1) for one in maps]).mean(0)
    torch.testing.assert_close(stem.norm.running_mean, mean)
    torch.testing.assert_close(stem.norm.running_var, variance)


def test_only_norms_that_a_depth_reaches_change_and_no_weight(detector: Detector) -> None:
    before = state(detector)
    count = recalibrate(detector, [torch.rand(4, 3, 64, 64)], ['base'])
    names = changed(before, detector)
    assert {name.rsplit('.', 1)[1] for name in names} == {
        'running_mean',
        'running_var',
        'num_batches_tracked',
    }
    assert count == sum(name.endswith('running_var') for name in names)
    stage = [name for name in names if name.startswith('backbone.stages.0')]
    assert stage and all('norm_base' in name for name in stage)
    assert any(name.startswith('head') for name in names)


def test_base_only_leaves_full_depth_exactly_as_it_was(detector: Detector) -> None:
    before = state(detector)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        full = detector(images, 'full').decoded
        recalibrate(detector, [torch.rand(4, 3, 64, 64)], ['base'], base_only=True)
        torch.testing.assert_close(detector(images, 'full').decoded, full, rtol=0, atol=0)
    assert all('norm_base' in name for name in changed(before, detector))


def test_the_statistics_an_rtdetr_keeps_apart_are_estimated_for_base_alone() -> None:
    detector = lively_rtdetr()
    images = torch.rand(4, 3, 64, 64)
    before = state(detector)
    with torch.no_grad():
        full = detector(images, 'full').decoded
        recalibrate(detector, [images], ['base'], base_only=True)
        torch.testing.assert_close(detector(images, 'full').decoded, full, rtol=0, atol=0)
    names = changed(before, detector)
    assert any(name.startswith('decoder') for name in names)
    assert all('norm_base' in name for name in names)


def test_modes_and_momentum_are_as_before(detector: Detector) -> None:
    detector.head.train()
    before = [(module.training, getattr(module, 'momentum', 0)) for module in detector.modules()]
    recalibrate(detector, [torch.rand(2, 3, 32, 32)], ['full'])
    after = [(module.training, getattr(module, 'momentum', 0)) for module in detector.modules()]
    assert after == before


def test_an_interrupted_run_leaves_the_detector_as_it_was(detector: Detector) -> None:
    before = state(detector)

    def batches() -> Iterator[torch.Tensor]:
        yield torch.rand(2, 3, 32, 32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recalibrate(detector, batches(), ['full', 'base'])
    assert not changed(before, detector)
    assert not any(module.training for module in detector.modules())


@pytest.mark.parametrize(('images', 'depths'), [(0, ['full']), (1, [])])
def test_nothing_to_run_is_refused(images: int, depths: list[str], detector: Detector) -> None:
    before = state(detector)
    with pytest.raises(ValueError, match='without images and depths'):
        recalibrate(detector, [torch.rand(1, 3, 32, 32)] * images, depths)
    assert not changed(before, detector)


@pytest.mark.parametrize('make', [lively_detector, lively_rtdetr])
@pytest.mark.parametrize('depth', ['full', 'base', 'mixed'])
def test_statistics_at_a_depth_are_those_that_recalibrating_gives(
    make: Callable[[], Detector], depth: str
) -> None:
    detector = make()
    space = detector.depth_space
    flags = tuple(index % 2 == 0 for index in range(len(space.stages)))
    chosen = DepthConfig(flags, space.decoder_layers) if depth == 'mixed' else space.parse(depth)
    images = [torch.rand(4, 3, 64, 64), torch.rand(2, 3, 64, 64)]
    before = state(detector)
    found = statistics_at(detector, images, chosen)
    assert not changed(before, detector)
    count = recalibrate(detector, images, [chosen])
    names = {n for n in changed(before, detector) if not n.endswith('num_batches_tracked')}
    assert set(found) == names and len(found) == 2 * count
    now = detector.state_dict()
    for name, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, now[name].numpy())
    base = sum('norm_base' in name for name in found)
    assert base == 0 if depth == 'full' else 0 < base < len(found)


def test_statistics_of_nothing_are_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match='without images and depths'):
        statistics_at(detector, [], detector.depth_space.full)


def test_images_are_spread_over_the_folder_and_batched_at_each_size(tmp_path: Path) -> None:
    for number in range(7):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / 'notes.txt').write_text('no image')
    files = image_files(tmp_path, 5)
    assert [path.name for path in files] == ['0.png', '2.png', '3.png', '4.png', '6.png']
    assert len(image_files(tmp_path, 100)) == 7
    shapes = [
        tuple(b.shape) for b in batches_of(files, [(64, 96), (32, 32)], 'letterbox', batch_size=2)
    ]
    assert shapes == [(2, 3, 64, 96), (2, 3, 32, 32), (1, 3, 64, 96)]


def test_a_folder_without_images_and_a_broken_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='holds no images'):
        image_files(tmp_path, 5)
    (tmp_path / 'a.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match='a.png is no readable image'):
        list(batches_of(image_files(tmp_path, 5), [(32, 32)], 'letterbox'))
    with pytest.raises(ValueError, match='a.png is no readable image'):
        list(
            augmented_batches_of(
                image_files(tmp_path, 5), (32, 32), 'letterbox', AugmentSettings()
            )
        )


@pytest.mark.parametrize('resize', ['letterbox', 'stretch'])
@pytest.mark.parametrize(
    'settings',
    [AugmentSettings(), AugmentSettings(photometric=1.0, zoom_out=0.5, crop=1.0, copy_paste=1.0)],
)
def test_augmented_batches_repeat_and_differ_from_plain_ones(
    tmp_path: Path, resize: str, settings: AugmentSettings
) -> None:
    for number in range(5):
        picture = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture)
    files = image_files(tmp_path, 5)
    first, second = (
        list(augmented_batches_of(files, (64, 96), resize, settings, batch_size=2))
        for _ in range(2)
    )
    assert [tuple(batch.shape) for batch in first] == [(2, 3, 64, 96)] * 2 + [(1, 3, 64, 96)]
    assert all(map(torch.equal, first, second))
    plain = list(batches_of(files, [(64, 96)], resize, batch_size=2))
    assert not any(map(torch.equal, first, plain))


def test_without_variation_augmented_batches_are_the_plain_ones(tmp_path: Path) -> None:
    """Plain epochs have no mosaic, so only what the settings name is varied."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), picture)
    files = image_files(tmp_path, 1)
    none = AugmentSettings(hsv=(0.0, 0.0, 0.0), translate=0.0, scale=0.0, flip=0.0, mosaic=1.0)
    (varied,) = augmented_batches_of(files, (64, 64), 'letterbox', none)
    (plain,) = batches_of(files, [(64, 64)], 'letterbox')
    torch.testing.assert_close(varied, plain)

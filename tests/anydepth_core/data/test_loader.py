"""Batches: their form, and that seed and epoch alone decide them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from anydepth_core.data.augment import AugmentSettings  # noqa: E402
from anydepth_core.data.coco import CocoDataset  # noqa: E402
from anydepth_core.data.loader import Batch, build_loader  # noqa: E402

SIZES = ((40, 60), (33, 47), (64, 64), (51, 20), (30, 90))


@pytest.fixture
def dataset(write_coco) -> CocoDataset:
    boxes = [
        (0, 0, 5, 5, 20, 20),
        (0, 1, 30, 10, 12, 25),
        (2, 1, 0, 0, 64, 64),
        (4, 0, 40, 3, 20, 20),
    ]
    return CocoDataset(*write_coco(sizes=SIZES, boxes=boxes), cache=True)


def batches(dataset: CocoDataset, *, epoch: int = 0, **changes) -> list[Batch]:
    arguments = {
        'image_size': (64, 96),
        'batch_size': 2,
        'augment': AugmentSettings(),
        'workers': 0,
        'seed': 7,
        'shuffle': True,
    }
    loader = build_loader(dataset, **{**arguments, **changes})
    loader.set_epoch(epoch)
    return list(loader)


def equal(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(getattr(a, name), getattr(b, name))
        for a, b in zip(first, second)
        for name in ('images', 'image_index', 'labels', 'boxes_xyxy_px')
    )


def test_batch_has_the_documented_form(dataset):
    for batch in batches(dataset):
        assert batch.images.shape == (2, 3, 64, 96) and batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous()
        assert batch.labels.dtype == batch.image_index.dtype == torch.int64
        assert batch.boxes_xyxy_px.dtype == torch.float32
        assert len(batch.labels) == len(batch.image_index) == len(batch.boxes_xyxy_px)
        assert len(batch) == 2


def test_without_augmentation_images_are_letterboxed_rgb_and_boxes_follow(dataset):
    (batch,) = batches(dataset, augment=None, batch_size=5, shuffle=False)
    assert batch.image_index.tolist() == [0, 0, 2, 3 + 1]
    assert batch.labels.tolist() == [0, 1, 1, 0]
    # 40x60 -> 64x96 exactly: scale 1.6
    assert torch.allclose(batch.boxes_xyxy_px[0], torch.tensor([8.0, 8.0, 40.0, 40.0]))
    # 64x64 in 64x96: scale 1, 16 pixels of padding left and right
    assert torch.allclose(batch.boxes_xyxy_px[2], torch.tensor([16.0, 0.0, 80.0, 64.0]))
    bgr = dataset.image(2)
    assert np.array_equal(batch.images[2, :, :, 16:80].numpy(), bgr[..., ::-1].transpose(2, 0, 1))
    assert (batch.images[2, :, :, :16] == 114).all()


def test_without_augmentation_images_are_stretched_where_the_detector_wants_it(dataset):
    (batch,) = batches(dataset, augment=None, batch_size=5, shuffle=False, resize='stretch')
    assert batch.labels.tolist() == [0, 1, 1, 0]
    # 64x64 -> 64x96: one and a half as wide, no padding
    assert torch.allclose(batch.boxes_xyxy_px[2], torch.tensor([0.0, 0.0, 96.0, 64.0]))
    # 30x90 -> 64x96
    expected = torch.tensor([40 * 96 / 90, 3 * 64 / 30, 60 * 96 / 90, 23 * 64 / 30])
    assert torch.allclose(batch.boxes_xyxy_px[3], expected)
    assert (batch.images[2] == 255).all()  # the object covers the image


RTDETR = AugmentSettings(
    hsv=(0, 0, 0), translate=0, scale=0, mosaic=0, photometric=0.5, zoom_out=0.5, crop=0.8
)


def test_the_published_augmentation_of_rtdetr_fills_the_input_and_keeps_boxes_inside(dataset):
    seen, boxes = [], 0
    for epoch in range(12):
        for batch in batches(dataset, augment=RTDETR, resize='stretch', epoch=epoch):
            assert batch.images.shape == (2, 3, 64, 96) and batch.images.is_contiguous()
            corners = batch.boxes_xyxy_px
            assert (corners >= 0).all() and (corners <= torch.tensor([96, 64, 96, 64])).all()
            assert (corners[:, 2:] - corners[:, :2] >= 1).all()
            boxes += len(corners)
            seen += [image.float().mean().item() for image in batch.images]
    assert boxes > 20 and len(set(seen)) > 0.8 * len(seen)
    assert min(seen) < 60  # zoomed out onto black


def test_the_published_augmentation_of_rtdetr_does_not_depend_on_the_number_of_workers(dataset):
    expected = batches(dataset, augment=RTDETR, resize='stretch')
    assert equal(batches(dataset, augment=RTDETR, resize='stretch', workers=2), expected)
    assert not equal(batches(dataset, augment=RTDETR, resize='stretch', seed=8), expected)


@pytest.mark.parametrize('resize', ['letterbox', 'stretch'])
def test_every_augmentation_goes_with_every_resize(dataset, resize):
    everything = AugmentSettings(
        mosaic=0.5, photometric=0.5, zoom_out=0.5, crop=0.5, copy_paste=0.5, mixup=0.5
    )
    for epoch in range(4):
        for batch in batches(dataset, augment=everything, resize=resize, epoch=epoch):
            corners = batch.boxes_xyxy_px
            assert (corners >= 0).all() and (corners <= torch.tensor([96, 64, 96, 64])).all()


MIXED = AugmentSettings(mosaic=0.5, copy_paste=0.5, mixup=0.5)


def test_mixed_images_have_more_objects_and_follow_from_the_seed(dataset):
    mixed = batches(dataset, augment=MIXED)
    assert equal(batches(dataset, augment=MIXED, workers=2), mixed)
    assert not equal(batches(dataset, augment=MIXED, seed=8), mixed)
    counts = {
        name: sum(
            len(batch.labels)
            for epoch in range(6)
            for batch in batches(dataset, epoch=epoch, augment=AugmentSettings(**strength))
        )
        for name, strength in (('none', {}), ('pasted', {'copy_paste': 1}), ('both', {'mixup': 1}))
    }
    assert counts['pasted'] > 1.2 * counts['none'] and counts['both'] > 1.5 * counts['none']


@pytest.mark.parametrize('mixing', [{'mixup': 1.0}, {'copy_paste': 1.0}])
def test_mixing_takes_another_image(write_coco, mixing):
    boxes = [(0, 0, 5, 5, 9, 9), (1, 1, 40, 20, 9, 9)]
    dataset = CocoDataset(*write_coco(sizes=((40, 60),) * 2, boxes=boxes))
    augment = AugmentSettings(mosaic=0, translate=0, scale=0, **mixing)
    found = {
        tuple(sorted(batch.labels.tolist()))
        for epoch in range(8)
        for batch in batches(dataset, augment=augment, batch_size=1, epoch=epoch)
    }
    assert (0, 1) in found


def test_what_is_switched_off_draws_no_chance(dataset):
    """So that recipes from before copy-paste and mixup draw what they drew."""
    (batch,) = batches(dataset, augment=AugmentSettings(mosaic=0.5), batch_size=5)
    for name, value in (('copy_paste', 1e-12), ('mixup', 1e-12)):
        (other,) = batches(
            dataset, augment=AugmentSettings(mosaic=0.5, **{name: value}), batch_size=5
        )
        assert not torch.equal(batch.images, other.images)  # these did draw
    assert batch.images.float().mean().item() == pytest.approx(
        144.12, abs=0.3
    )  # as before they were there


def test_batches_do_not_depend_on_the_number_of_workers(dataset):
    for epoch in (0, 3):
        expected = batches(dataset, epoch=epoch)
        for workers in (1, 2):
            assert equal(batches(dataset, epoch=epoch, workers=workers), expected)


def test_epochs_and_seeds_differ_and_repeat(dataset):
    assert equal(batches(dataset, epoch=1), batches(dataset, epoch=1))
    assert not equal(batches(dataset, epoch=1), batches(dataset, epoch=2))
    assert not equal(batches(dataset, seed=1), batches(dataset, seed=2))


def test_the_order_changes_with_the_epoch(dataset):
    plain = batches(dataset, augment=None, batch_size=1, shuffle=False)
    orders = set()
    for epoch in range(4):
        drawn = batches(dataset, augment=None, batch_size=1, epoch=epoch)
        orders.add(
            tuple(
                next(i for i, p in enumerate(plain) if torch.equal(p.images, d.images))
                for d in drawn
            )
        )
    assert len(orders) > 1


def test_one_loader_follows_set_epoch(dataset):
    loader = build_loader(dataset, (64, 96), 2, AugmentSettings(), 1, 7, True)
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        assert equal(list(loader), batches(dataset, epoch=epoch))


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('shard', [(0, 1), (1, 2)])
def test_an_epoch_goes_on_after_skipped_batches(dataset, workers, shard):
    whole = batches(dataset, batch_size=1, epoch=3, shard=shard)
    loader = build_loader(dataset, (64, 96), 1, AugmentSettings(), workers, 7, True, shard=shard)
    for skipped in (len(whole) - 1, 0, len(whole)):
        loader.set_epoch(3, skipped)
        assert equal(list(loader), whole[skipped:])
        assert len(loader) == len(whole)


def test_shuffling_drops_an_incomplete_batch_but_never_the_only_one(dataset):
    assert [len(batch) for batch in batches(dataset)] == [2, 2]
    assert [len(batch) for batch in batches(dataset, batch_size=8)] == [5]
    assert [len(batch) for batch in batches(dataset, shuffle=False, augment=None)] == [2, 2, 1]
    assert [len(batch) for batch in batches(dataset, drop_last=False)] == [2, 2, 1]


def test_every_image_is_drawn_once_an_epoch(dataset):
    plain = batches(dataset, augment=None, batch_size=1, shuffle=False)
    drawn = batches(dataset, augment=None, batch_size=1)
    order = [
        next(i for i, p in enumerate(plain) if torch.equal(p.images, d.images)) for d in drawn
    ]
    assert sorted(order) == list(range(5)) and order != list(range(5))


def test_shares_of_two_processes_make_the_joint_batches(dataset):
    joint = batches(dataset, batch_size=2, epoch=3)
    shares = [batches(dataset, batch_size=1, epoch=3, shard=(rank, 2)) for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2] == [len(joint)] * 2
    for step, batch in enumerate(joint):
        for rank in range(2):
            assert torch.equal(shares[rank][step].images[0], batch.images[rank])


def test_more_processes_than_images_are_refused(dataset):
    with pytest.raises(ValueError, match='5 images are too few for 6 processes'):
        batches(dataset, shard=(0, 6))


def test_batches_without_any_object_are_empty_not_missing(write_coco):
    dataset = CocoDataset(*write_coco(sizes=((20, 30), (31, 17))))
    for augment, resize in (
        (None, 'letterbox'),
        (None, 'stretch'),
        (AugmentSettings(), 'letterbox'),
        (AugmentSettings(mosaic=0), 'letterbox'),
        (MIXED, 'letterbox'),
        (RTDETR, 'stretch'),
    ):
        (batch,) = batches(dataset, augment=augment, resize=resize)
        assert batch.boxes_xyxy_px.shape == (0, 4) and batch.labels.shape == (0,)
        assert batch.image_index.shape == (0,) and batch.image_index.dtype == torch.int64


def test_mosaic_works_on_a_single_image(write_coco):
    dataset = CocoDataset(*write_coco(boxes=[(0, 1, 5, 5, 30, 30)]))
    (batch,) = batches(dataset, batch_size=1)
    assert batch.images.shape == (1, 3, 64, 96)


def test_cached_images_survive_augmentation(dataset):
    before = [dataset.image(index).copy() for index in range(len(dataset))]
    for augment in (AugmentSettings(), AugmentSettings(mosaic=0), MIXED, RTDETR, None):
        for resize in ('letterbox', 'stretch'):
            batches(dataset, augment=augment, resize=resize)
    assert all(np.array_equal(dataset.image(index), image) for index, image in enumerate(before))


def test_numbers_out_of_range_are_refused(dataset):
    with pytest.raises(ValueError, match='batch size 0'):
        build_loader(dataset, (64, 64), 0, None, 0, 0, False)
    with pytest.raises(ValueError, match='workers -1'):
        build_loader(dataset, (64, 64), 1, None, -1, 0, False)
    with pytest.raises(ValueError, match="resize 'crop' is not legal"):
        build_loader(dataset, (64, 64), 1, None, 0, 0, False, resize='crop')


def test_a_broken_image_stops_a_worker_with_its_name(write_coco):
    json_path, image_dir = write_coco(sizes=((20, 30),) * 2)
    (image_dir / '1.png').write_bytes(b'broken')
    with pytest.raises(ValueError, match=r'1\.png is no readable image'):
        batches(CocoDataset(json_path, image_dir), workers=1)

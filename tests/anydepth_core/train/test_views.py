"""Sizes of the batches that both passes see."""

import torch

from anydepth_core.train.views import draw_views, resize_batch
from tests.anydepth_core.support.small_batch import small_batch

CPU = torch.device('cpu')


def drawn(sizes, same_view, count=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    views = draw_views([small_batch()] * count, sizes, same_view, generator, CPU)
    return [
        (full.images.shape[2:], None if base is None else base.images.shape[2:])
        for full, base in views
    ]


def test_sizes_follow_from_the_seed_and_vary():
    assert (
        drawn((32, 64, 96), True) == drawn((32, 64, 96), True) != drawn((32, 64, 96), True, seed=1)
    )
    assert {tuple(full) for full, _ in drawn((32, 64), True)} == {(32, 32), (64, 64)}


def test_size_named_more_often_is_drawn_more_often():
    often = [full[0] for full, _ in drawn((32, 64, 64, 64), True, 200)].count(64)
    assert 130 < often < 170


def test_base_pass_draws_for_itself_where_the_views_differ():
    pairs = drawn((32, 64, 96), False, 20)
    assert any(full != base for full, base in pairs)
    assert all(base is None for _, base in drawn((32, 64, 96), True))


def test_without_sizes_batches_stay_as_they_are():
    assert drawn((), False) == [((64, 96), None)] * 8


def test_boxes_follow_the_images():
    batch = small_batch()
    resized = resize_batch(batch, (128, 48))
    assert resized.images.shape == (2, 3, 128, 48) and resized.images.dtype == torch.uint8
    factors = torch.tensor([0.5, 2.0, 0.5, 2.0])
    assert torch.allclose(resized.boxes_xyxy_px, batch.boxes_xyxy_px * factors)

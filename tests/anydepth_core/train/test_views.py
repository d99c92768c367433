"""Sizes of the batches that both passes see."""

from collections import Counter

import pytest
import torch

from anydepth_core.depth import DepthSpace
from anydepth_core.train.views import draw_base_depth, draw_views, resize_batch
from tests.anydepth_core.support.small_batch import small_batch

CPU = torch.device('cpu')


def drawn(sizes, same_view, count=8, seed=0):
    """Sizes of both views in ``count`` steps of one batch."""
    generator = torch.Generator().manual_seed(seed)
    views = [
        draw_views([small_batch()], sizes, same_view, generator, CPU)[0] for _ in range(count)
    ]
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


@pytest.mark.parametrize('same_view', [True, False])
def test_all_batches_of_a_step_have_one_size(same_view):
    generator = torch.Generator().manual_seed(0)
    views = draw_views([small_batch()] * 8, (32, 64, 96, 128), same_view, generator, CPU)
    assert len(views) == 8
    for number in (0, 1):
        assert len({None if v[number] is None else v[number].images.shape for v in views}) == 1


def test_without_sizes_batches_stay_as_they_are():
    assert drawn((), False) == [((64, 96), None)] * 8


def test_boxes_follow_the_images():
    batch = small_batch()
    resized = resize_batch(batch, (128, 48))
    assert resized.images.shape == (2, 3, 128, 48) and resized.images.dtype == torch.uint8
    factors = torch.tensor([0.5, 2.0, 0.5, 2.0])
    assert torch.allclose(resized.boxes_xyxy_px, batch.boxes_xyxy_px * factors)


def drawn_depths(share, count=400, stages=('a', 'b', 'c'), seed=0):
    space = DepthSpace(stages, backbone_stages=2)
    generator = torch.Generator().manual_seed(seed)
    return [space.format(draw_base_depth(space, share, generator)) for _ in range(count)]


def test_share_of_the_steps_runs_any_depth_in_between():
    counts = Counter(drawn_depths(0.5))
    assert 160 < counts.pop('00-0') < 240
    assert set(counts) == {'00-1', '01-0', '01-1', '10-0', '10-1', '11-0'}
    assert min(counts.values()) > 15


def test_depths_follow_from_the_seed():
    assert drawn_depths(0.5) == drawn_depths(0.5) != drawn_depths(0.5, seed=1)
    assert set(drawn_depths(1.0)) == set(drawn_depths(0.5)) - {'00-0'}


def test_without_a_share_nothing_is_drawn():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    space = DepthSpace(('a',), backbone_stages=1, decoder_layers=6)
    assert draw_base_depth(space, 0.0, generator) == space.base
    assert torch.equal(generator.get_state(), before)

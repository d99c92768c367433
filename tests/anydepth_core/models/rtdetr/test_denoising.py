"""Drawing of denoising queries."""

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
import pytest
import torch

from anydepth_core.models.rtdetr.denoising import DenoisingSettings, draw_denoising_queries
from anydepth_core.models.rtdetr.matcher import GroundTruth
from anydepth_core.nn.boxes import cxcywh_to_xyxy
from tests.anydepth_core.models.rtdetr.loss_pack import denoising_queries, PACK, truth_of


def truth_with(counts, box=(0.5, 0.5, 0.2, 0.1), label=2):
    total = sum(counts)
    return GroundTruth(
        torch.full((total,), label),
        torch.tensor(box).expand(total, 4),
        torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
        tuple(counts),
    )


def draw(truth, classes=80, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    return draw_denoising_queries(truth, classes, DenoisingSettings(**changes), generator)


def halves(queries, most):
    """Bool (D,): positive half of each group."""
    return torch.arange(queries.labels.shape[1]) // most % 2 == 0


def test_layout_equals_the_pack():
    queries, stored = draw(truth_of('gt3_2')), denoising_queries()
    assert queries.labels.shape == stored.labels.shape
    assert queries.boxes_logit.shape == stored.boxes_logit.shape
    assert queries.boxes_logit.dtype == torch.float32
    assert queries.groups == stored.groups
    for mine, other in zip(queries.positives, stored.positives):
        assert torch.equal(mine, other)
    padding = stored.labels == 80
    assert torch.equal(queries.labels == 80, padding)
    assert torch.allclose(queries.boxes_logit[padding], stored.boxes_logit[padding])


def test_attention_mask_equals_the_pack():
    stored = torch.from_numpy(PACK['dn_attn_mask'])
    assert torch.equal(denoising_queries().attention_mask_for(300), stored)
    assert torch.equal(draw(truth_of('gt3_2')).attention_mask_for(300), stored)


def test_positive_queries_learn_the_target_they_were_drawn_from():
    truth = truth_of('gt3_2')
    queries = draw(truth, label_noise=0.0)
    pairs = queries.pairs(truth)
    assert len(pairs.query) == 33 * 5
    assert torch.equal(pairs.of(queries.labels), truth.labels[pairs.target])
    assert torch.equal(truth.image_index[pairs.target], pairs.image)


def test_positive_sides_move_less_than_half_and_negative_ones_more():
    truth = truth_with([2, 1])
    queries = draw(truth, queries=4000)
    # keep what is not a negative box whose sides passed each other
    size = queries.boxes_logit[0].sigmoid()[:, 2:].amin(-1)
    positive = halves(queries, 2)
    moved = (
        cxcywh_to_xyxy(queries.boxes_logit[0].sigmoid()) - cxcywh_to_xyxy(truth.boxes_cxcywh)[0]
    )
    share = moved.abs() / torch.tensor([0.2, 0.1, 0.2, 0.1])
    assert share[positive].max() == pytest.approx(0.5, abs=5e-3)
    assert share[positive].min() < 5e-3
    regular = ~positive & (size > 1e-3)
    assert share[regular].min() == pytest.approx(0.5, abs=5e-3)
    assert share[regular].max() == pytest.approx(1.0, abs=5e-3)
    assert regular.float().sum() > 1000
    assert (moved[positive] > 0).float().mean() == pytest.approx(0.5, abs=0.02)


def test_boxes_stay_inside_the_image():
    queries = draw(truth_with([1], (0.9, 0.1, 0.2, 0.2)))
    boxes = queries.boxes_logit[0].sigmoid()
    corners = cxcywh_to_xyxy(boxes[boxes[:, 2:].amin(-1) > 1e-4])
    assert corners.min() > -1e-5 and corners.max() < 1 + 1e-5
    assert (corners.amax(-1) > 0.999).any()


def test_box_noise_scales_the_move():
    still = draw(truth_with([1]), box_noise=0.0).boxes_logit.sigmoid()
    assert torch.allclose(still, torch.tensor((0.5, 0.5, 0.2, 0.1)), atol=1e-6)


def test_half_of_the_label_noise_draws_anew():
    labels = draw(truth_with([1]), queries=20_000, label_noise=0.5).labels
    changed = (labels != 2).float().mean().item()
    assert changed == pytest.approx(0.25 * 79 / 80, abs=0.01)
    assert labels.min() == 0 and labels.max() == 79
    assert (draw(truth_with([1]), label_noise=0.0).labels == 2).all()


def test_same_generator_state_gives_the_same_queries():
    first, second, other = (draw(truth_with([3, 1]), seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.boxes_logit, second.boxes_logit)
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.boxes_logit, other.boxes_logit)


def test_global_random_state_plays_no_part():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draw(truth_with([3]))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_targets_or_no_queries_give_none():
    assert draw(truth_with([0, 0])) is None
    assert draw(truth_with([1]), queries=0) is None


@pytest.mark.parametrize(('most', 'groups'), [(1, 100), (33, 3), (60, 1), (100, 1), (130, 1)])
def test_groups_fill_the_queries_and_are_at_least_one(most, groups):
    queries = draw(truth_with([most, 1]))
    assert queries.groups == groups
    assert queries.labels.shape == (2, 2 * most * groups)
    assert [len(each) for each in queries.positives] == [most * groups, groups]


def test_groups_see_themselves_and_the_queries_but_nobody_else():
    queries = draw(truth_with([2]), queries=4)
    blocked = queries.attention_mask_for(3)
    assert blocked.shape == (11, 11)
    assert not blocked[:4, :4].any() and not blocked[4:8, 4:8].any()
    assert blocked[:4, 4:8].all() and blocked[4:8, :4].all()
    assert blocked[8:, :8].all() and not blocked[:, 8:].any()


@pytest.mark.parametrize(
    'changes', [{'queries': -1}, {'label_noise': 1.5}, {'label_noise': -0.1}, {'box_noise': -1.0}]
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match='denoising'):
        DenoisingSettings(**changes)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    box=st.tuples(*[st.sampled_from([0.0, 1 / 640, 0.3, 0.5, 1.0])] * 4),
    classes=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_queries_are_finite_and_legal_for_any_targets(counts, box, classes, seed):
    truth = truth_with(counts, box, label=classes - 1)
    queries = draw(truth, classes, seed)
    if queries is None:
        assert max(counts) == 0
        return
    assert queries.boxes_logit.abs().max() < 11.6
    most, valid = max(counts), torch.zeros_like(queries.labels, dtype=torch.bool)
    for image, count in enumerate(counts):
        valid[image] = torch.arange(queries.labels.shape[1]) % most < count
    assert torch.equal(queries.labels == classes, ~valid)
    assert queries.labels.min() >= 0
    pairs = queries.pairs(truth)
    assert halves(queries, most)[pairs.query].all()
    assert len(pairs.query) == sum(counts) * queries.groups

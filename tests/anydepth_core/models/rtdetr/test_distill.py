"""Distillation of the base pass."""

import pytest
import torch

from anydepth_core.models.rtdetr.criterion import matched_sets
from anydepth_core.models.rtdetr.distill import (
    binary_divergence,
    common_targets,
    distillation_losses,
    DistillationSettings,
    feature_divergence,
    PooledMaps,
    softmax_divergence,
    teacher_of,
)
from anydepth_core.models.rtdetr.matcher import match, MatchCosts, Pairs
from anydepth_core.models.rtdetr.predictions import LayerPredictions
from tests.anydepth_core.models.rtdetr.loss_pack import (
    as_triples,
    PACK,
    raw_of,
    truth_of,
)


def pairs_of(image, query, target):
    return Pairs(*(torch.tensor(part, dtype=torch.int64) for part in (image, query, target)))


def logits(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('case', list(PACK.meta['cases']))
def test_pairs_of_queries_equal_the_pack(case):
    truth = truth_of(case)
    base, full = (
        match([matched_sets(raw_of(which, 'no_dn'))['']], truth, MatchCosts())[0]
        for which in ('base', 'super')
    )
    base_rows, full_rows = common_targets(base, full)
    mine = {
        (image, target - truth.starts[image], query, other)
        for (image, query, target), other in zip(
            as_ordered(base.select(base_rows)), full.select(full_rows).query.tolist()
        )
    }
    stored = PACK.meta['cases'][case]['match']['kd_pairs']
    assert mine == {(i, *entry) for i, image in enumerate(stored) for entry in image}


def as_ordered(pairs):
    return list(zip(pairs.image.tolist(), pairs.query.tolist(), pairs.target.tolist()))


def test_targets_that_one_pass_left_over_are_not_compared():
    base = pairs_of([0, 0, 1], [4, 5, 6], [0, 2, 3])
    full = pairs_of([0, 0, 1], [7, 8, 9], [1, 2, 3])
    rows = common_targets(base, full)
    assert as_triples(base.select(rows[0])) == {(0, 5, 2), (1, 6, 3)}
    assert as_triples(full.select(rows[1])) == {(0, 8, 2), (1, 9, 3)}


@pytest.mark.parametrize('divergence', [binary_divergence, softmax_divergence])
def test_class_divergence_is_zero_for_equal_logits_and_positive_otherwise(divergence):
    a, b = logits(4, 6), logits(4, 6, seed=1)
    assert divergence(a, a, 300).item() == pytest.approx(0, abs=1e-12)
    assert divergence(a, b, 300) > 0


def test_only_the_binary_form_sees_the_height_of_the_scores():
    a = logits(4, 6)
    assert softmax_divergence(a - 3, a, 300).item() == pytest.approx(0, abs=1e-12)
    assert binary_divergence(a - 3, a, 300) > 1
    one = logits(4, 1), logits(4, 1, seed=1)
    assert softmax_divergence(*one, 300).item() == 0
    assert binary_divergence(*one, 300) > 0


def test_binary_form_does_not_weigh_classes_by_their_number():
    base, full = logits(4, 3), logits(4, 3, seed=1)
    absent = torch.full((4, 77), -40.0, dtype=torch.float64)
    many = torch.cat((base, absent), 1), torch.cat((full, absent), 1)
    few = binary_divergence(base, full, 300)
    assert binary_divergence(*many, 300).item() == pytest.approx(few.item())
    ratio = softmax_divergence(base, full, 300) / softmax_divergence(*many, 300)
    assert ratio.item() == pytest.approx(80 / 3)


def test_binary_gradient_is_the_difference_of_the_scores():
    base, full = logits(2, 3).requires_grad_(), logits(2, 3, seed=1)
    binary_divergence(base, full, 300).backward()
    assert torch.allclose(base.grad, base.detach().sigmoid() - full.sigmoid())


def test_feature_divergence_is_a_mean_over_images():
    base, full = logits(3, 8), logits(3, 8, seed=1)
    each = [feature_divergence(base[i : i + 1], full[i : i + 1]).item() for i in range(3)]
    assert feature_divergence(base, full).item() == pytest.approx(sum(each) / 3)


def test_published_division_by_channels_concerns_single_images_only():
    base, full = logits(2, 8), logits(2, 8, seed=1)
    assert feature_divergence(base, full, True) == feature_divergence(base, full)
    one = feature_divergence(base[:1], full[:1])
    assert feature_divergence(base[:1], full[:1], True).item() == pytest.approx(one.item() / 8)


def test_unknown_class_form_is_refused():
    with pytest.raises(ValueError, match='binary, softmax'):
        DistillationSettings(class_form='cosine')


def test_weights_scale_the_terms():
    layer = LayerPredictions(logits(1, 4, 3), logits(1, 4, 4, seed=1).sigmoid())
    other = LayerPredictions(logits(1, 4, 3, seed=2), logits(1, 4, 4, seed=3).sigmoid())
    maps, other_maps = (PooledMaps(logits(1, 5, seed=s), logits(1, 5, seed=s + 2)) for s in (4, 5))
    pairs = pairs_of([0, 0], [1, 3], [0, 1])
    teacher = teacher_of(other, pairs_of([0, 0], [2, 0], [0, 1]), other_maps)

    def losses(normaliser, *weights):
        number = torch.tensor(float(normaliser))
        settings = DistillationSettings('binary', *weights)
        return distillation_losses(layer, pairs, maps, teacher, number, settings)

    plain, weighted = losses(1, 1, 1, 1, 1, 1), losses(4, 2, 4, 8, 3, 5)
    ratios = [(weighted[name] / plain[name]).item() for name in plain]
    assert ratios == pytest.approx([0.5, 1, 2, 3, 5])

"""Terms against the ground truth."""

import pytest
import torch
import torch.nn.functional as F

from anydepth_core.models.rtdetr.criterion import truth_losses, TruthWeights, varifocal_sum
from anydepth_core.models.rtdetr.matcher import GroundTruth, Pairs
from anydepth_core.models.rtdetr.predictions import LayerPredictions

ONE = torch.tensor(1.0, dtype=torch.float64)


def one_target(box=(0.5, 0.5, 0.2, 0.4), label=1):
    return GroundTruth(
        torch.tensor([label]),
        torch.tensor([box], dtype=torch.float64),
        torch.tensor([0]),
        (1,),
    )


def pair(query=0):
    return Pairs(*(torch.tensor([index]) for index in (0, query, 0)))


def predictions(boxes, logits=None):
    boxes = torch.tensor([boxes], dtype=torch.float64)
    logits = torch.zeros(*boxes.shape[:2], 3, dtype=torch.float64) if logits is None else logits
    return LayerPredictions(logits.requires_grad_(), boxes.requires_grad_())


def test_box_terms_equal_those_computed_by_hand():
    layer = predictions([(0.9, 0.9, 0.1, 0.1), (0.6, 0.5, 0.2, 0.4)])
    losses = truth_losses(layer, one_target(), pair(1), 2 * ONE, TruthWeights())
    assert losses['loss_bbox'].item() == pytest.approx(5 * 0.1 / 2)
    # half of the box is covered: overlap 1/3, the hull of both has no empty part
    assert losses['loss_giou'].item() == pytest.approx(2 * (1 - 1 / 3) / 2)


def test_perfect_boxes_have_no_box_loss():
    layer = predictions([(0.5, 0.5, 0.2, 0.4)])
    losses = truth_losses(layer, one_target(), pair(), ONE, TruthWeights())
    assert losses['loss_bbox'].item() == 0
    assert losses['loss_giou'].item() == pytest.approx(0, abs=1e-12)


def test_matched_score_learns_the_overlap_and_every_other_the_background():
    layer = predictions([(0.6, 0.5, 0.2, 0.4), (0.5, 0.5, 0.2, 0.4)])
    losses = truth_losses(layer, one_target(), pair(), ONE, TruthWeights())
    (gradient,) = torch.autograd.grad(losses['loss_vfl'], layer.logits)
    expected = torch.full((1, 2, 3), 0.75 * 0.25 * 0.5, dtype=torch.float64)
    expected[0, 0, 1] = (0.5 - 1 / 3) / 3
    assert torch.allclose(gradient, expected)


def test_varifocal_sum_equals_its_formula():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    pairs = Pairs(*(torch.tensor(index) for index in ([0, 1], [2, 0], [0, 1])))
    quality = torch.tensor([0.8, 0.3], dtype=torch.float64)
    found = varifocal_sum(logits, pairs, torch.tensor([2, 0]), quality, TruthWeights())
    expected = 0
    for index, score in enumerate(logits.flatten().tolist()):
        target = {8: 0.8, 12: 0.3}.get(index, 0.0)
        probability = torch.tensor(score).sigmoid().item()
        weight = target or 0.75 * probability**2
        expected += weight * F.binary_cross_entropy(
            torch.tensor(probability), torch.tensor(target)
        )
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_quality_gives_no_gradient_to_the_boxes():
    layer = predictions([(0.6, 0.5, 0.2, 0.4)])
    losses = truth_losses(layer, one_target(), pair(), ONE, TruthWeights())
    assert torch.autograd.grad(losses['loss_vfl'], layer.boxes, allow_unused=True) == (None,)


def test_without_targets_every_term_still_reaches_the_predictions():
    layer = predictions([(0.6, 0.5, 0.2, 0.4)])
    none = torch.zeros(0, dtype=torch.int64)
    truth = GroundTruth(none, torch.zeros(0, 4), none, (0,))
    losses = truth_losses(layer, truth, Pairs(none, none, none), ONE, TruthWeights())
    assert losses['loss_bbox'] == losses['loss_giou'] == 0
    (losses['loss_bbox'] + losses['loss_giou']).backward()
    assert not layer.boxes.grad.any()
    losses['loss_vfl'].backward()
    assert (layer.logits.grad > 0).all()


def test_weights_and_normaliser_scale_the_terms():
    layer = predictions([(0.6, 0.5, 0.2, 0.4)])
    plain = truth_losses(layer, one_target(), pair(), ONE, TruthWeights(1, 1, 1), '_aux_3')
    other = truth_losses(layer, one_target(), pair(), 4 * ONE, TruthWeights(2, 8, 12), '_aux_3')
    factors = {'loss_vfl_aux_3': 0.5, 'loss_bbox_aux_3': 2, 'loss_giou_aux_3': 3}
    for name, factor in factors.items():
        assert other[name].item() == pytest.approx(factor * plain[name].item())


def test_degenerate_boxes_have_finite_terms_and_gradients():
    layer = predictions([(0.5, 0.5, 0.0, 0.0)])
    losses = truth_losses(layer, one_target((0.5, 0.5, 0, 0)), pair(), ONE, TruthWeights())
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert layer.boxes.grad.isfinite().all() and layer.logits.grad.isfinite().all()

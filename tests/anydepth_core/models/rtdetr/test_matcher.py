"""Matching of targets with queries."""

from itertools import permutations

import pytest
import torch

from anydepth_core.models.rtdetr.criterion import matched_sets
from anydepth_core.models.rtdetr.matcher import GroundTruth, match, MatchCosts, matching_cost
from anydepth_core.models.rtdetr.predictions import LayerPredictions
from tests.anydepth_core.models.rtdetr.loss_pack import (
    as_triples,
    LIMITS,
    PACK,
    raw_of,
    stored_matching,
    truth_of,
)


def random_predictions(batch, queries, classes=5, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, queries, classes, generator=generator)
    centre = torch.rand(batch, queries, 2, generator=generator) * 0.6 + 0.2
    size = torch.rand(batch, queries, 2, generator=generator) * 0.2 + 0.05
    return LayerPredictions(logits.to(dtype), torch.cat((centre, size), -1).to(dtype))


def random_truth(counts, classes=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    boxes = random_predictions(1, sum(counts), seed=seed).boxes[0]
    return GroundTruth(
        torch.randint(classes, (sum(counts),), generator=generator),
        boxes,
        torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
        tuple(counts),
    )


@pytest.mark.parametrize('dtype', list(LIMITS))
@pytest.mark.parametrize('which', ['super', 'base'])
@pytest.mark.parametrize('case', list(PACK.meta['cases']))
def test_matchings_equal_the_pack(case, which, dtype):
    raw = raw_of(which, 'no_dn', dtype)
    sets = matched_sets(raw)
    assert ['last', *(suffix[1:] for suffix in list(sets)[1:])] == PACK.meta['order']
    matched = match(list(sets.values()), truth_of(case, dtype), MatchCosts())
    for entry, pairs in enumerate(matched):
        assert as_triples(pairs) == stored_matching(case, which, entry)


def test_matching_has_the_least_cost_of_all():
    predictions, truth = random_predictions(1, 5), random_truth([3])
    cost = matching_cost(predictions, truth, MatchCosts())
    (pairs,) = match([predictions], truth, MatchCosts())
    assert pairs.target.tolist() == [0, 1, 2]
    found = cost[pairs.target, pairs.query].sum()
    every = [cost[range(3), queries].sum() for queries in permutations(range(5), 3)]
    assert found == min(every)


def test_costs_grow_with_their_weights():
    predictions, truth = random_predictions(2, 4), random_truth([1, 2])
    parts = [MatchCosts(1, 0, 0), MatchCosts(0, 1, 0), MatchCosts(0, 0, 1)]
    label, box, giou = (matching_cost(predictions, truth, part) for part in parts)
    assert torch.allclose(
        matching_cost(predictions, truth, MatchCosts()), 2 * label + 5 * box + 2 * giou
    )


def test_half_precision_is_matched_in_float32():
    predictions, truth = random_predictions(2, 20, dtype=torch.float16), random_truth([3, 4])
    cost = matching_cost(predictions, truth, MatchCosts())
    exact = LayerPredictions(predictions.logits.float(), predictions.boxes.float())
    assert cost.dtype == torch.float32
    assert torch.equal(cost, matching_cost(exact, truth, MatchCosts()))


def test_no_targets_give_no_pairs():
    matched = match([random_predictions(2, 4)] * 3, random_truth([0, 0]), MatchCosts())
    assert [len(pairs.query) for pairs in matched] == [0, 0, 0]


def test_image_without_targets_among_others_gets_no_pair():
    (pairs,) = match([random_predictions(3, 6)], random_truth([2, 0, 1]), MatchCosts())
    assert pairs.image.tolist() == [0, 0, 2]
    assert pairs.target.tolist() == [0, 1, 2]


def test_more_targets_than_queries_leave_targets_over():
    (pairs,) = match([random_predictions(2, 3)], random_truth([5, 2]), MatchCosts())
    assert pairs.image.tolist() == [0, 0, 0, 1, 1]
    assert sorted(pairs.query[:3].tolist()) == [0, 1, 2]
    assert len(set(pairs.target.tolist())) == 5


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('part', ['logits', 'boxes'])
def test_query_that_is_not_finite_is_matched_so_that_the_loss_shows_it(part, value):
    predictions, truth = random_predictions(1, 6), random_truth([1])
    predictions.logits[0, 4] = -20  # what no target would take
    getattr(predictions, part)[0, 4] = value
    cost = matching_cost(predictions, truth, MatchCosts())
    (pairs,) = match([predictions], truth, MatchCosts())
    if not cost[0, 4].isfinite():
        assert pairs.query.tolist() == [4]
    else:  # an infinite logit has a finite cost; its loss is not finite, matched or not
        assert part == 'logits' and not torch.tensor(value).isnan()

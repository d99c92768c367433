"""Verification: rounding may swap queries, and explains some error; nothing else passes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from anydepth_core.export import reference
from anydepth_core.export.reference import place_errors, query_errors, Reference
from anydepth_core.export.verify import check, format_table, TOLERANCE, verify
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import calm_rtdetr

SIZE = (96, 96)


def outputs(seed: int = 0, queries: int = 20) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        'boxes': 640 * generator.random((1, 4, queries)),
        'scores': generator.random((1, 3, queries)),
    }


def moved(x: dict[str, np.ndarray], order: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value[:, :, order] for name, value in x.items()}


def test_the_order_of_queries_does_not_matter() -> None:
    expected = outputs()
    actual = moved(expected, np.random.default_rng(1).permutation(20))
    assert query_errors(actual, expected) == {'boxes': 0, 'scores': 0}
    assert min(place_errors(actual, expected).values()) > 0.1


def test_the_error_of_every_output_is_that_of_the_worst_query() -> None:
    expected = outputs()
    actual = moved(expected, np.arange(20)[::-1])
    actual['boxes'][0, 2, 5] += 6.4
    errors = query_errors(actual, expected)
    assert errors['boxes'] == pytest.approx(6.4 / expected['boxes'].max())
    assert errors['scores'] == 0


def test_scores_that_belong_to_another_box_are_an_error() -> None:
    expected = outputs()
    actual = {**expected, 'scores': expected['scores'][:, :, ::-1]}
    assert max(query_errors(actual, expected).values()) > 0.1


@pytest.mark.parametrize('duplicate_in_actual', [True, False])
def test_a_query_that_only_one_side_has_is_an_error(duplicate_in_actual: bool) -> None:
    whole = outputs()
    order = np.arange(20)
    order[3] = 4
    pair = (moved(whole, order), whole)
    assert max(query_errors(*(pair if duplicate_in_actual else pair[::-1])).values()) > 0.1


def test_another_number_of_queries_is_an_error() -> None:
    assert query_errors(outputs(queries=19), outputs())['boxes'] == float('inf')
    assert place_errors(outputs(queries=19), outputs())['boxes'] == float('inf')


def test_places_are_compared_by_the_plain_tolerance(detector: Detector) -> None:
    case = Reference(detector, TOLERANCE).case(detector.depth_space.base, (64, 64), seed=0)
    assert case.tolerance == TOLERANCE == 1e-4
    assert case.outputs['boxes'].dtype == np.float32


def test_queries_are_compared_with_torch_in_double_precision(rtdetr: Detector) -> None:
    case = Reference(rtdetr, TOLERANCE).case(rtdetr.depth_space.base, SIZE, seed=0)
    assert TOLERANCE <= case.tolerance < 1e-3
    assert case.outputs['boxes'].dtype == np.float64


def test_images_on_which_rounding_decides_are_not_used() -> None:
    detector = calm_rtdetr(queries=30)
    with torch.no_grad():  # the scores of tokens differ in their last bits only
        detector.decoder.enc_score_head.weight.mul_(1e-7)
        detector.decoder.enc_score_head.bias.fill_(1)
    with pytest.raises(RuntimeError, match='rounding alone changes the queries'):
        Reference(detector, TOLERANCE).case(detector.depth_space.full, SIZE, seed=0)
    with torch.no_grad():  # and here not at all: all tokens are equally good
        detector.decoder.enc_score_head.weight.zero_()
    Reference(detector, TOLERANCE).case(detector.depth_space.full, SIZE, seed=0)


def test_a_detector_that_amplifies_rounding_cannot_be_verified(
    rtdetr: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, '_LARGEST_ROUNDING', 1e-9)
    with pytest.raises(RuntimeError, match='cannot be verified'):
        Reference(rtdetr, TOLERANCE).case(rtdetr.depth_space.full, SIZE, seed=0)


def swapped(master: onnx.ModelProto, number: int) -> onnx.ModelProto:
    """Return a copy with the branches of one ``If`` exchanged."""
    copy = onnx.ModelProto()
    copy.CopyFrom(master)
    node = [node for node in copy.graph.node if node.op_type == 'If'][number]
    for attribute in node.attribute:
        other = {'then_branch': 'else_branch', 'else_branch': 'then_branch'}
        attribute.name = other[attribute.name]
    return copy


@pytest.mark.parametrize('number', range(10))
def test_swapped_branches_fail(
    rtdetr: Detector, rtdetr_master: onnx.ModelProto, number: int
) -> None:
    switches = [node for node in rtdetr_master.graph.node if node.op_type == 'If']
    assert len(switches) == 10  # stages, projection, three layers behind the first, score heads
    with pytest.raises(RuntimeError, match='differ from torch'):
        check(verify(rtdetr, swapped(rtdetr_master, number), ('1111-1d3',), [SIZE]))


def test_sampling_half_a_cell_off_fails(rtdetr: Detector, rtdetr_master: onnx.ModelProto) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(rtdetr_master)
    node = next(node for node in copy.graph.node if node.op_type == 'GridSample')
    node.attribute.append(onnx.helper.make_attribute('align_corners', 1))
    differences = verify(rtdetr, copy, ('1111-1d1',), [SIZE])
    with pytest.raises(RuntimeError, match=r'4 of 4 .* at 1111-1d1, 96x96: .* accepted: '):
        check(differences)
    assert len(format_table(differences).splitlines()) == 3

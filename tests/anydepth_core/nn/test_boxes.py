"""Box conversions and overlaps."""

from hypothesis import given
from hypothesis import strategies as st
import pytest
import torch

from anydepth_core.nn.boxes import (
    cxcywh_to_xyxy,
    generalized_iou,
    inverse_sigmoid,
    plain_iou,
    xyxy_to_cxcywh,
)

fraction = st.floats(0, 1)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_conversions_give_corners_and_centres():
    corners = cxcywh_to_xyxy(boxes((5, 4, 4, 2)))
    assert corners.tolist() == [[3, 3, 7, 5]]
    assert xyxy_to_cxcywh(corners).tolist() == [[5, 4, 4, 2]]


@given(rows=st.lists(st.tuples(*[fraction] * 4), min_size=1))
def test_conversions_undo_each_other(rows):
    converted = xyxy_to_cxcywh(cxcywh_to_xyxy(boxes(*rows)))
    assert torch.allclose(converted, boxes(*rows), atol=1e-12)


@pytest.mark.parametrize(
    ('a', 'b', 'iou', 'giou'),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1, 1),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),
        ((0, 0, 1, 1), (2, 0, 3, 1), 0, -1 / 3),
        ((0, 0, 4, 4), (1, 1, 2, 2), 1 / 16, 1 / 16),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0, 0),
        ((1, 1, 1, 1), (0, 0, 2, 2), 0, 0),
        ((0, 0, 0, 0), (3, 3, 3, 3), 0, -1),
    ],
)
def test_overlaps_equal_those_computed_by_hand(a, b, iou, giou):
    for first, second in ((a, b), (b, a)):
        assert plain_iou(boxes(first), boxes(second)).item() == pytest.approx(iou)
        assert generalized_iou(boxes(first), boxes(second)).item() == pytest.approx(giou)


@given(rows=st.tuples(*[st.tuples(*[fraction] * 4)] * 2))
def test_overlaps_and_their_gradients_are_finite_and_in_range(rows):
    a, b = (cxcywh_to_xyxy(boxes(row).float()).requires_grad_() for row in rows)
    overlap, generalized = plain_iou(a, b), generalized_iou(a, b)
    assert 0 <= overlap.item() <= 1 + 1e-6
    assert -1 - 1e-6 <= generalized.item() <= overlap.item() + 1e-6
    (overlap + generalized).sum().backward()
    assert a.grad.isfinite().all() and b.grad.isfinite().all()


def test_inverse_sigmoid_undoes_the_sigmoid_and_is_finite_at_the_ends():
    x = torch.linspace(-9, 9, 19, dtype=torch.float64)
    assert torch.allclose(inverse_sigmoid(x.sigmoid()), x, atol=1e-9)
    ends = inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    assert ends.tolist() == pytest.approx([-11.512925, -11.512925, 11.512925, 11.512925])

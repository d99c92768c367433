"""Detection with torch prepares images and treats boxes as the detector wants it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the predictor runs torch detectors')

from anydepth_core.evaluation.torch_predict import torch_predict  # noqa: E402
from anydepth_core.models.postprocess import PostprocessSettings  # noqa: E402


class TwoBoxes(torch.nn.Module):
    """Two boxes of one class and place in the middle of the input, whatever is in it."""

    def __init__(self, resize: str, suppression: str) -> None:
        super().__init__()
        self.resize, self.suppression = resize, suppression
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.asked: list[tuple[tuple[int, ...], str]] = []

    def forward(self, images: torch.Tensor, depth: str) -> SimpleNamespace:
        self.asked.append((tuple(images.shape), depth))
        height, width = images.shape[2:]
        box = torch.tensor([width / 2, height / 2, 32.0, 32.0])
        scores = torch.tensor([[0.9, 0.0005], [0.1, 0.2]])
        one = torch.cat((torch.stack((box, box), 1), scores))
        return SimpleNamespace(decoded=one.expand(len(images), -1, -1) + self.weight)


IMAGES = [np.zeros((32, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]


def test_letterbox_and_suppression_of_the_detector_are_used():
    detector = TwoBoxes('letterbox', 'class_nms')
    wide, square = torch_predict(detector, 'base', (64, 64))(IMAGES)
    assert detector.asked == [((2, 3, 64, 64), 'base')]
    assert wide.labels.tolist() == [0, 1]
    np.testing.assert_allclose(wide.boxes_xyxy_px, [[16, 0, 48, 32]] * 2)
    np.testing.assert_allclose(square.boxes_xyxy_px, [[16, 16, 48, 48]] * 2)


def test_stretch_and_no_suppression_of_the_detector_are_used():
    detector = TwoBoxes('stretch', 'none')
    wide, square = torch_predict(detector, 'full', (64, 64))(IMAGES)
    assert wide.labels.tolist() == square.labels.tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(wide.scores, [0.9, 0.2, 0.1, 0.0005])
    np.testing.assert_allclose(wide.boxes_xyxy_px, [[16, 8, 48, 24]] * 4)
    np.testing.assert_allclose(square.boxes_xyxy_px, [[16, 16, 48, 48]] * 4)


def test_other_settings_may_be_given():
    strict = PostprocessSettings(confidence=0.5)
    for suppression in ('class_nms', 'none'):
        predict = torch_predict(TwoBoxes('letterbox', suppression), 'full', (64, 64), strict)
        assert [len(found) for found in predict(IMAGES)] == [1, 1]

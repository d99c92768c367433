"""The large models at full size: ``make test-large``, which is not part of ``make test``."""

from __future__ import annotations

import onnx
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.evaluation.static_export import export_static, stored_bytes
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.precision import to_half
from anydepth_core.export.specialise import specialise
from anydepth_core.models.detector import Detector

SIZE = (640, 640)


def fresh(name: str) -> Detector:
    torch.manual_seed(0)
    detector: Detector = build_detector(name).eval()
    return detector


@pytest.mark.parametrize(
    'name', ['anydepth_yolov12s', 'anydepth_yolov12l', 'rtdetr_r18', 'anydepth_rtdetr_r50']
)
def test_a_master_is_hardly_larger_than_a_static_export_of_full(name: str) -> None:
    detector = fresh(name)
    static = export_static(detector, 'full', SIZE)
    assert stored_bytes(build_master(detector, half=False)) <= 1.10 * stored_bytes(static)
    assert stored_bytes(build_master(detector)) <= 1.10 * stored_bytes(static, half=True)


@pytest.mark.tensorrt_rtx
@pytest.mark.parametrize('name', ['anydepth_yolov12l', 'anydepth_rtdetr_r50'])
@pytest.mark.parametrize('depth', ['full', 'base'])
def test_nvidias_builder_accepts_a_large_model(name: str, depth: str) -> None:
    from tests.anydepth_core.support.tensorrt_rtx import build

    detector = fresh(name)
    config = detector.depth_space.parse(depth)
    master = build_master(detector)
    model = specialise(master, config.stages, SIZE, config.decoder_layers)
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    assert build(half) < build(model)

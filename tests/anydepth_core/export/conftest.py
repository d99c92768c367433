"""Fixtures of the export tests: a detector of each family and its master ONNX."""

from __future__ import annotations

import onnx
import pytest

from anydepth_core.export.onnx_export import build_master
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import calm_rtdetr, lively_detector


@pytest.fixture(scope='package')
def detector() -> Detector:
    """Return an n detector; tests do not change it."""
    return lively_detector()


@pytest.fixture(scope='package')
def master(detector: Detector) -> onnx.ModelProto:
    """Return the master ONNX of ``detector``; tests do not change it."""
    return build_master(detector)


@pytest.fixture(scope='package')
def rtdetr() -> Detector:
    """Return a tiny RT-DETR with 4 decoder layers, of which 3 are evaluated; do not change it."""
    return calm_rtdetr()


@pytest.fixture(scope='package')
def rtdetr_master(rtdetr: Detector) -> onnx.ModelProto:
    """Return the master ONNX of ``rtdetr``; tests do not change it."""
    return build_master(rtdetr)

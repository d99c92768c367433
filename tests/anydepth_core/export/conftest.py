"""Fixtures of the export tests: one detector and its master ONNX."""

from __future__ import annotations

import onnx
import pytest

from anydepth_core.export.onnx_export import build_master
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import lively_detector


@pytest.fixture(scope='package')
def detector() -> Detector:
    """Return an n detector; tests do not change it."""
    return lively_detector()


@pytest.fixture(scope='package')
def master(detector: Detector) -> onnx.ModelProto:
    """Return the master ONNX of ``detector``; tests do not change it."""
    return build_master(detector)

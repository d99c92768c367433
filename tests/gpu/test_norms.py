"""Norms of an operating point, estimated on the GPU."""

from __future__ import annotations

import numpy as np
import torch

from anydepth_core.evaluation.recalibrate import statistics_at
from anydepth_core.evaluation.torch_predict import detector_of_bundle
from anydepth_core.export.bundle import load_bundle


def test_a_gpu_estimates_what_the_processor_does() -> None:
    detector = detector_of_bundle(load_bundle())
    images = torch.rand(16, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    depth = detector.depth_space.base
    expected = statistics_at(detector, [images], depth)
    found = statistics_at(detector.cuda(), [images], depth)
    assert expected and found.keys() == expected.keys()
    for name, values in expected.items():
        limit = 0.01 * np.abs(values).max()  # TF32 convolutions
        np.testing.assert_allclose(found[name], values, atol=limit, err_msg=name)

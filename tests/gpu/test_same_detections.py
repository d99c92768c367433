"""The default bundle in half precision on a GPU finds what it finds on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anydepth_core.depth import OperatingPoint
from anydepth_core.evaluation.same_detections import compare_all
from anydepth_core.evaluation.torch_predict import detect_with_torch
from anydepth_core.export.bundle import load_bundle
from anydepth_core.runtime.pipeline import load_pipeline
from anydepth_core.structures import Detections


def test_every_level_finds_the_same(pytestconfig: pytest.Config) -> None:
    from anydepth_core.data.pictures import read_pictures

    bundle = load_bundle()
    on_gpu = detect_with_torch(bundle, 'cuda', torch.float16)
    pipeline = load_pipeline()

    def on_cpu(image: np.ndarray, point: OperatingPoint) -> Detections:
        return pipeline(image, point)[0]

    clip = Path(pytestconfig.rootpath, 'config/media/fod_clip.mp4')
    images = list(read_pictures(clip, 100))
    candidates = {'CPU': on_cpu, 'GPU': on_gpu}
    for point, _, _, comparison in compare_all(candidates, bundle.ladder.points, images):
        assert comparison.same and comparison.matched, (point, str(comparison))

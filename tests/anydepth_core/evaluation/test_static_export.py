"""Torch's static export as a yardstick: the same function, hardly smaller than a master."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.evaluation.static_export import export_static, stored_bytes
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.reference import query_errors
from anydepth_core.export.specialise import specialise
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import calm_rtdetr, lively_detector

SIZE = (96, 64)


def run(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return dict(zip(('boxes', 'scores'), session.run(['boxes', 'scores'], {'images': images})))


@pytest.mark.parametrize('depth', ['full', 'base'])
@pytest.mark.parametrize('detector', [lively_detector(), calm_rtdetr()], ids=['yolo', 'rtdetr'])
def test_a_specialised_graph_equals_a_static_export(detector: Detector, depth: str) -> None:
    config = detector.depth_space.parse(depth)
    master = build_master(detector, half=False)
    special = specialise(master, config.stages, SIZE, config.decoder_layers)
    images = np.random.default_rng(0).random((1, 3, *SIZE), dtype=np.float32)
    errors = query_errors(run(special, images), run(export_static(detector, depth, SIZE), images))
    assert max(errors.values()) < 1e-4


def test_a_master_is_hardly_larger_than_a_static_export_of_full() -> None:
    torch.manual_seed(0)
    detector = build_detector('anydepth_yolov12n').eval()
    static = export_static(detector, 'full', (320, 320))
    assert stored_bytes(build_master(detector, half=False)) <= 1.10 * stored_bytes(static)
    assert stored_bytes(build_master(detector)) <= 1.10 * stored_bytes(static, half=True)
    assert stored_bytes(static) > 1.9 * stored_bytes(static, half=True)


def test_what_exporters_add_does_not_count() -> None:
    master = build_master(lively_detector())
    talkative = onnx.ModelProto()
    talkative.CopyFrom(master)
    onnx.helper.set_model_props(talkative, {'written by': 'someone' * 100})
    branch = next(node for node in talkative.graph.node if node.op_type == 'If').attribute[0].g
    for node in (*talkative.graph.node, *branch.node):
        node.name, node.doc_string = 'a very long name' * 10, 'where it comes from'
    before = talkative.SerializeToString(deterministic=True)
    assert talkative.ByteSize() > master.ByteSize() + 30_000
    assert stored_bytes(talkative) == stored_bytes(master)
    assert talkative.SerializeToString(deterministic=True) == before

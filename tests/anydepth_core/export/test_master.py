"""The master ONNX: equal to torch at every depth, every weight in it once."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
import onnxruntime
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.export.master import depth_space_of, state_dict_from_master
from anydepth_core.export.onnx_export import build_master, export_master, load_master_weights
from anydepth_core.export.verify import check, format_table, verify
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import lively_detector

DEPTHS = ('full', 'base', '1010-0110', '0001-1011')
SIZES = ((64, 64), (96, 64))


def subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield attribute.g
                yield from subgraphs(attribute.g)


def weight_names(graph: onnx.GraphProto) -> list[str]:
    return [tensor.name for tensor in graph.initializer if not tensor.name.startswith('/')]


def test_onnx_equals_torch_at_every_depth(detector: Detector, master: onnx.ModelProto) -> None:
    differences = verify(detector, master, DEPTHS, SIZES)
    assert len(differences) == 2 * 2 * len(DEPTHS) * len(SIZES)
    assert max(difference.error for difference in differences) <= 1e-4
    check(differences)
    assert len(format_table(differences).splitlines()) == 1 + len(differences) // 2


def test_onnx_equals_torch_in_the_switch_variant() -> None:
    detector = lively_detector('switch')
    check(verify(detector, build_master(detector), DEPTHS[1:3], SIZES[1:]))


def test_fresh_weights_pass_the_verification_too() -> None:
    detector = build_detector('anydepth_yolov12n', num_classes=3)
    check(verify(detector, build_master(detector), ('full', 'base'), SIZES[1:]))


def test_one_session_serves_other_batches_and_sizes(
    detector: Detector, master: onnx.ModelProto
) -> None:
    reference = deepcopy(detector)
    load_master_weights(reference, master)
    session = onnxruntime.InferenceSession(master.SerializeToString())
    for shape in ((3, 3, 32, 96), (1, 3, 128, 64)):
        images = torch.rand(*shape)
        depth = detector.depth_space.parse('0110-1001')
        feeds = {'images': images.numpy(), 'depth_mask': np.array(depth.stages)}
        with torch.no_grad():
            expected = reference(images, depth).decoded.numpy()
        actual = np.concatenate(session.run(['boxes', 'scores'], feeds), 1)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_each_weight_is_stored_once(detector: Detector, master: onnx.ModelProto) -> None:
    names = weight_names(master.graph)
    for branch in subgraphs(master.graph):
        names += weight_names(branch)
    floating = {name for name, value in detector.state_dict().items() if value.is_floating_point()}
    assert len(names) == len(set(names))
    assert set(names) == floating


def test_only_what_differs_sits_in_branches(detector: Detector, master: onnx.ModelProto) -> None:
    outside = set(weight_names(master.graph))
    for name in detector.state_dict():
        if name.endswith('num_batches_tracked'):
            continue
        in_stage = '.stages.' in name
        differs = 'norm' in name or '.refinement.' in name
        assert (name in outside) == (not (in_stage and differs)), name


def test_a_master_has_one_if_per_stage_and_keeps_its_norms(
    detector: Detector, master: onnx.ModelProto
) -> None:
    onnx.checker.check_model(master, full_check=True)
    kinds = [node.op_type for graph in subgraphs(master.graph) for node in graph.node]
    assert [node.op_type for node in master.graph.node].count('If') == 8
    assert 'If' not in kinds
    norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in detector.modules())
    outside = [node.op_type for node in master.graph.node]
    assert kinds.count('BatchNormalization') + outside.count('BatchNormalization') == norms
    assert {entry.version for entry in master.opset_import} == {18}
    assert depth_space_of(master) == detector.depth_space


def test_the_bit_of_a_stage_chooses_its_branch(
    detector: Detector, master: onnx.ModelProto
) -> None:
    producers = {name: node for node in master.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in master.graph.initializer}
    switches = [node for node in master.graph.node if node.op_type == 'If']
    for index, (switch, stage) in enumerate(
        zip(switches, detector.depth_space.stages, strict=True)
    ):
        gather = producers[switch.input[0]]
        assert (gather.op_type, gather.input[0]) == ('Gather', 'depth_mask')
        assert numpy_helper.to_array(constants[gather.input[1]]) == index
        branches = {attribute.name: attribute.g.output[0].name for attribute in switch.attribute}
        assert branches['then_branch'].startswith(f'/{stage}/full/')
        assert branches['else_branch'].startswith(f'/{stage}/base/')


def test_convolution_weights_are_stored_in_half_precision_on_request(
    detector: Detector, master: onnx.ModelProto
) -> None:
    weights = {name: tensor.detach() for name, tensor in detector.state_dict().items()}
    rounded = state_dict_from_master(master)
    exact = state_dict_from_master(build_master(detector, half=False))
    for name, value in exact.items():
        assert value.dtype == rounded[name].dtype == np.float32
        np.testing.assert_array_equal(value, weights[name].numpy())
        stored = value.astype(np.float16).astype(np.float32) if value.ndim >= 2 else value
        np.testing.assert_array_equal(rounded[name], stored)


def test_weights_return_from_a_file(
    detector: Detector, master: onnx.ModelProto, tmp_path: Path
) -> None:
    path = tmp_path / 'new' / 'master.onnx'
    export_master(detector, path)
    assert path.read_bytes() == master.SerializeToString(deterministic=True)
    assert [entry.name for entry in path.parent.iterdir()] == ['master.onnx']
    fresh = build_detector('anydepth_yolov12n', num_classes=5)
    load_master_weights(fresh, onnx.load(path))
    restored = fresh.state_dict()
    for name, value in state_dict_from_master(master).items():
        np.testing.assert_array_equal(restored[name].numpy(), value)


def test_a_detector_of_another_shape_is_refused(master: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match=r'6 classes.*6 misshaped .*head\.cls\.0\.2\.bias'):
        load_master_weights(build_detector('anydepth_yolov12n', num_classes=6), master)


@pytest.mark.parametrize('value', [float('nan'), 1e5])
def test_weights_that_cannot_be_stored_are_refused(value: float) -> None:
    detector = build_detector('anydepth_yolov12n', num_classes=2)
    with torch.no_grad():
        detector.backbone.stem[0].conv.weight[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r'weight backbone\.stem\.0\.conv\.weight'):
        build_master(detector)


def test_swapped_branches_fail_the_verification(
    detector: Detector, master: onnx.ModelProto
) -> None:
    swapped = onnx.ModelProto()
    swapped.CopyFrom(master)
    node = [node for node in swapped.graph.node if node.op_type == 'If'][6]
    for attribute in node.attribute:
        other = {'then_branch': 'else_branch', 'else_branch': 'then_branch'}
        attribute.name = other[attribute.name]
    with pytest.raises(RuntimeError, match='differ from torch'):
        check(verify(detector, swapped, ('full',), SIZES[:1]))

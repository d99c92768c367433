"""The master ONNX of RT-DETR: equal to torch at every depth and number of decoder layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.export.master import depth_inputs, depth_space_of, read_facts
from anydepth_core.export.onnx_export import build_master, load_master_weights
from anydepth_core.export.reference import query_errors, Reference
from anydepth_core.export.verify import check, TOLERANCE, verify
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import calm_rtdetr
from tests.anydepth_core.support.tiny_rtdetr import tiny_rtdetr

FEW_TOKENS, MANY_TOKENS = (96, 96), (128, 224)  # 189 and 588 of them; 300 queries


def with_weights_of(master: onnx.ModelProto, detector: Detector) -> Detector:
    load_master_weights(detector, master)
    return detector


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def initialisers(graph: onnx.GraphProto, path: str = '') -> Iterator[tuple[str, str]]:
    """Yield the name of each weight and the path of the branch that holds it."""
    yield from (
        (tensor.name, path) for tensor in graph.initializer if not tensor.name.startswith('/')
    )
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from initialisers(attribute.g, f'{path}/{attribute.name}')


def test_onnx_equals_torch_at_every_combination_of_stages(
    rtdetr_master: onnx.ModelProto,
) -> None:
    reference = Reference(with_weights_of(rtdetr_master, calm_rtdetr()), TOLERANCE)
    session = session_of(rtdetr_master)
    for index, depth in enumerate(depth_space_of(rtdetr_master).all()):
        depth = replace(depth, decoder_layers=1 + index % 4)
        case = reference.case(depth, (FEW_TOKENS, MANY_TOKENS)[index // 4 % 2], seed=index)
        outputs = session.run(None, {'images': case.images, **depth_inputs(depth)})
        errors = query_errors(dict(zip(('boxes', 'scores'), outputs)), case.outputs)
        assert max(errors.values()) <= case.tolerance < 1e-3, depth


@pytest.mark.parametrize('variant', ['published', 'bottleneck'])
def test_onnx_equals_torch_in_other_layouts(variant: str) -> None:
    if variant == 'published':
        detector = calm_rtdetr(variant, decoder_layers=1, evaluated_layers=1)
    else:
        detector = calm_rtdetr(bottleneck=True, frozen=True, deep_stem=False, expansion=1.0)
    differences = verify(detector, build_master(detector), ('full', 'base'), [FEW_TOKENS])
    assert {difference.graph for difference in differences} == {'master', 'specialised'}
    check(differences)


def test_fresh_weights_pass_the_verification_too() -> None:
    detector = tiny_rtdetr()
    check(verify(detector, build_master(detector), ('base',), [MANY_TOKENS]))


@pytest.mark.slow
def test_the_real_r18_passes_with_weights_in_half_precision() -> None:
    torch.manual_seed(0)
    detector = build_detector('rtdetr_r18', num_classes=3).eval()
    for name, parameter in detector.named_parameters():
        if 'bbox_head' in name or 'box_head' in name:
            torch.nn.init.normal_(parameter, std=0.03)
    differences = verify(detector, build_master(detector), ('full', 'base'), [(160, 160)])
    check(differences)
    assert len(differences) == 2 * 2 * 2


def test_one_session_serves_batches(rtdetr_master: onnx.ModelProto) -> None:
    session = session_of(rtdetr_master)
    images = np.random.default_rng(0).random((2, 3, 64, 160), dtype=np.float32)
    depth = depth_inputs(depth_space_of(rtdetr_master).parse('0110-1d2'))
    both = session.run(None, {'images': images, **depth})
    assert [output.shape for output in both] == [(2, 4, 210), (2, 5, 210)]
    for index in range(2):
        alone = session.run(None, {'images': images[index : index + 1], **depth})
        errors = query_errors(
            {name: output[index : index + 1] for name, output in zip('bs', both)},
            dict(zip('bs', alone)),
        )
        assert max(errors.values()) < 1e-4


def test_numbers_of_layers_out_of_range_count_as_the_nearest(
    rtdetr_master: onnx.ModelProto,
) -> None:
    session = session_of(rtdetr_master)
    feeds = {'images': np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)}
    feeds['depth_mask'] = np.array([True] * 5)
    scores = {
        layers: session.run(['scores'], {**feeds, 'decoder_layers': np.array(layers)})[0]
        for layers in (-1, 0, 1, 2, 3, 4, 5, 1000)
    }
    for layers, nearest in ((-1, 1), (0, 1), (5, 4), (1000, 4)):
        np.testing.assert_array_equal(scores[layers], scores[nearest])
    for layers in (1, 2, 3):
        assert np.abs(scores[layers] - scores[layers + 1]).max() > 0.1


def test_each_weight_that_inference_uses_is_stored_once(
    rtdetr: Detector, rtdetr_master: onnx.ModelProto
) -> None:
    names = [name for name, _ in initialisers(rtdetr_master.graph)]
    floating = {name for name, value in rtdetr.state_dict().items() if value.is_floating_point()}
    assert len(names) == len(set(names))
    assert set(names) == floating - {'decoder.denoising_class_embed.weight'}


def test_a_decoder_layer_and_its_score_head_sit_in_branches_of_their_own(
    rtdetr: Detector, rtdetr_master: onnx.ModelProto
) -> None:
    homes = dict(initialisers(rtdetr_master.graph))
    for index in range(4):
        layer = {n: home for n, home in homes.items() if n.startswith(f'decoder.layers.{index}.')}
        heads = {home for name, home in layer.items() if '.score_head.' in name}
        assert len(layer) > 20
        assert heads == {'/else_branch' * (3 - index) + '/then_branch' * (index > 0)}
        inside = {home for name, home in layer.items() if '.score_head.' not in name}
        assert inside == {'/then_branch' if index else ''}
    assert not any(home for name, home in homes.items() if '.query_pos.' in name)
    assert not homes['decoder.input_proj.0.conv.weight']
    assert homes['decoder.input_proj.0.norm_base.running_mean'] == '/else_branch'


@pytest.mark.parametrize('changes', [{}, {'variant': 'published'}, {'bottleneck': True}], ids=str)
def test_only_refinements_norms_and_shortcuts_sit_in_the_branches_of_stages(
    changes: dict[str, Any],
) -> None:
    homes = dict(initialisers(build_master(calm_rtdetr(**changes)).graph))
    inside = [name for name, home in homes.items() if home and '.layers.' not in name]
    assert len(inside) > 100
    for name in inside:
        assert any(part in name for part in ('refinement', 'norm', 'conv_skip')), name
    assert not any('refinement' in name for name, home in homes.items() if not home)


def test_what_the_detector_is_is_stated(rtdetr: Detector, rtdetr_master: onnx.ModelProto) -> None:
    space = depth_space_of(rtdetr_master)
    assert space == rtdetr.depth_space
    assert (space.decoder_layers, space.max_decoder_layers) == (3, 4)
    assert read_facts(rtdetr_master)['sampling'] == 'grid_sample'


def test_weights_return_and_what_training_alone_uses_stays(
    rtdetr_master: onnx.ModelProto,
) -> None:
    fresh = tiny_rtdetr(queries=300)
    embedding = fresh.decoder.denoising_class_embed.weight.detach().clone()
    before = fresh.decoder.layers[2].linear1.weight.detach().clone()
    load_master_weights(fresh, rtdetr_master)
    assert torch.equal(fresh.decoder.denoising_class_embed.weight, embedding)
    assert not torch.equal(fresh.decoder.layers[2].linear1.weight, before)


def test_sampling_by_gather_gives_the_same(
    rtdetr: Detector, rtdetr_master: onnx.ModelProto
) -> None:
    master = build_master(rtdetr, sampling='gather')
    assert read_facts(master)['sampling'] == 'gather'
    assert b'GridSample' not in master.SerializeToString()
    assert b'GridSample' in rtdetr_master.SerializeToString()
    check(verify(rtdetr, master, ('1010-1d2',), [FEW_TOKENS, MANY_TOKENS]))


def test_an_unknown_sampling_is_refused(rtdetr: Detector) -> None:
    with pytest.raises(ValueError, match="no sampling 'fast'; known: grid_sample, gather"):
        build_master(rtdetr, sampling='fast')

"""Any-depth RT-DETR: depths, decoder layers, and what each pass may touch."""

import itertools

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.depth import DepthConfig
from anydepth_core.nn.position import sincos_position
from tests.anydepth_core.support.tiny_rtdetr import lively_rtdetr, tiny_rtdetr


def images(batch=1, height=64, width=96):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def refinements(detector):
    return [m for name, m in detector.named_modules() if name.rpartition('.')[2] == 'refinement']


def test_every_depth_runs_and_differs():
    detector = lively_rtdetr()
    outputs = set()
    with torch.no_grad():
        for flags in itertools.product((True, False), repeat=5):
            for layers in range(1, 5):
                raw = detector(images(), DepthConfig(flags, layers))
                assert raw.logits.shape == (1, 60, 5) and raw.boxes.shape == (1, 60, 4)
                assert raw.tokens.shape == (1, 60) and raw.decoded.shape == (1, 9, 60)
                assert len(raw.layers) == 1 and torch.isfinite(raw.decoded).all()
                outputs.add(raw.logits.double().sum().item())
    assert len(outputs) == 32 * 4


def test_depth_without_decoder_layers_means_the_evaluated_ones():
    detector = lively_rtdetr()
    assert detector.depth_space.format(detector.depth_space.full) == '1111-1d3'
    assert detector.depth_space.format(detector.depth_space.base) == '0000-0d2'
    with torch.no_grad():
        short, long = (detector(images(), d).logits for d in ('1111-1', '1111-1d3'))
        deeper = detector(images(), '1111-1d4').logits
    assert torch.equal(short, long) and not torch.equal(short, deeper)


@pytest.mark.parametrize(
    ('name', 'full', 'base', 'most'),
    [
        ('anydepth_rtdetr_r50', '1111-1d6', '0000-0d4', 6),
        ('rtdetr_r18', '1111-1d3', '0000-0d2', 3),
        ('rtdetr_r34', '1111-1d4', '0000-0d3', 4),
        ('rtdetr_r50_m', '1111-1d3', '0000-0d2', 6),
    ],
)
def test_depth_space_of_the_layouts(name, full, base, most):
    with torch.device('meta'):
        space = build_detector(name).depth_space
    assert space.format(space.full) == full and space.format(space.base) == base
    assert space.parse(f'0101-1d{most}').decoder_layers == most
    for wrong in (f'1111-1d{most + 1}', '1111-1d0', '1111d3', '1111-11'):
        with pytest.raises(ValueError, match=f'1 to {most} decoder layers'):
            space.parse(wrong)


@pytest.mark.parametrize(('height', 'width', 'tokens'), [(32, 32, 21), (96, 96, 189)])
def test_inputs_with_few_tokens_use_all_of_them(height, width, tokens):
    detector = lively_rtdetr(queries=300)
    with torch.no_grad():
        raw = detector(images(2, height, width), 'base')
    assert raw.logits.shape == (2, tokens, 5) and torch.isfinite(raw.decoded).all()
    assert sorted(raw.tokens[0].tolist()) == list(range(tokens))


def test_outputs_are_boxes_in_pixels_and_scores():
    detector = lively_rtdetr()
    with torch.no_grad():
        raw = detector(images(2, 64, 96), 'full')
    assert torch.allclose(raw.outputs['boxes'][:, 0], raw.boxes[..., 0] * 96)
    assert torch.allclose(raw.outputs['boxes'][:, 3], raw.boxes[..., 3] * 64)
    assert torch.allclose(raw.outputs['scores'], raw.logits.sigmoid().transpose(1, 2))


def test_features_are_the_maps_of_backbone_and_neck():
    shapes = [tuple(f.shape) for f in tiny_rtdetr().eval().features(images(2), 'base')]
    assert shapes == [
        (2, 16, 8, 12), (2, 32, 4, 6), (2, 64, 2, 3),
        (2, 32, 8, 12), (2, 32, 4, 6), (2, 32, 2, 3),
    ]  # fmt: skip


def test_training_runs_all_decoder_layers_whatever_the_depth_says():
    detector = tiny_rtdetr().train()
    raw = detector(images(2), '0000-0d1')
    assert len(raw.layers) == 4 and raw.denoising == []
    assert {layer.logits.shape for layer in raw.layers} == {(2, 60, 5)}


def test_base_pass_gives_no_gradient_to_refinements():
    detector = tiny_rtdetr().train()
    raw = detector(images(2), 'base')
    outputs = [*raw.layers, raw.proposals]
    sum(layer.logits.sum() + layer.boxes.sum() for layer in outputs).backward()
    refined = [p for module in refinements(detector) for p in module.parameters()]
    assert refined and all(p.grad is None for p in refined)
    essential = [p for name, p in detector.named_parameters() if '_base.' in name]
    assert essential and all(p.grad is not None for p in essential)


def test_base_output_does_not_depend_on_refinements():
    detector = lively_rtdetr()
    with torch.no_grad():
        base, full = (detector(images(), depth).decoded for depth in ('base', 'full'))
        for module in refinements(detector):
            for parameter in module.parameters():
                parameter.add_(1.0)
        assert torch.equal(detector(images(), 'base').decoded, base)
        assert not torch.equal(detector(images(), 'full').decoded, full)


@pytest.mark.parametrize('variant', ['corrected', 'published'])
def test_each_pass_updates_only_its_own_norms(variant):
    detector = tiny_rtdetr(variant).train()
    before = {k: v.clone() for k, v in detector.state_dict().items() if 'running_mean' in k}
    detector(images(2), 'base')
    after = detector.state_dict()
    changed = {k for k, v in before.items() if not torch.equal(v, after[k])}
    single = {k for k in before if 'stem' in k or 'shortcut' in k}
    if variant == 'published':
        single |= {k for k in before if 'input_proj' in k and k.startswith('decoder')}
    assert changed == single | {k for k in before if 'norm_base' in k}


def test_separate_statistics_leave_training_as_published():
    losses, gradients = [], []
    for variant in ('corrected', 'published'):
        detector = tiny_rtdetr(variant).train()
        raw = detector(images(2), 'base')
        loss = raw.logits.square().sum() + raw.proposals.logits.square().sum()
        loss.backward()
        losses.append(loss.item())
        norm = detector.decoder.input_proj[0].norm
        gradients.append(torch.cat((norm.weight.grad, norm.bias.grad)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-5)


def test_switching_depth_between_frames_changes_nothing_else():
    detector = lively_rtdetr()
    with torch.no_grad():
        alone = {d: detector(images(), d).decoded for d in ('full', 'base', '1010-0d4')}
        for depth in ('base', 'full', '1010-0d4', 'base', '1010-0d4', 'full'):
            assert torch.equal(detector(images(), depth).decoded, alone[depth])


def test_batch_equals_single_images():
    detector = lively_rtdetr().double()
    batch = images(3).double()
    with torch.no_grad():
        together = detector(batch, '1100-1d2').decoded
        single = torch.cat([detector(one[None], '1100-1d2').decoded for one in batch])
    assert torch.allclose(together, single, rtol=1e-9, atol=1e-9)


def test_half_precision_passes_stay_finite():
    detector = tiny_rtdetr().train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        raw = detector(images(2), 'full')
    assert all(torch.isfinite(layer.boxes).all() for layer in raw.layers)
    raw.logits.float().sum().backward()


def test_position_embedding_is_flattened_column_by_column():
    embedding = sincos_position(3, 2, 8)
    assert embedding.shape == (1, 6, 8)
    # second token of the row-major map gets the embedding of column 0, row 1
    assert torch.allclose(embedding[0, 1, 0:2], torch.zeros(2))
    assert torch.allclose(embedding[0, 1, 4], torch.sin(torch.tensor(1.0)))


@pytest.mark.parametrize('depth', ['deep', '1111', '1111-1111', '1111-1d5', '1111-1d0', 2, None])
def test_wrong_depth_is_refused(depth):
    with pytest.raises(ValueError, match="'full', 'base' or 5 bits like '1111-0d3'"):
        tiny_rtdetr().eval()(images(), depth)


@pytest.mark.parametrize('shape', [(1, 3, 60, 64), (1, 1, 64, 64), (3, 64, 64), (0, 3, 64, 64)])
def test_wrong_image_shape_is_refused(shape):
    with pytest.raises(ValueError, match='multiples of 32'):
        tiny_rtdetr().eval()(torch.zeros(shape), 'full')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'name': 'rtdetr_r50', 'variant': 'orig'}, 'variants: corrected, published'),
        ({'name': 'rtdetr_r50', 'num_classes': 0}, 'at least 1'),
        ({'name': 'rtdetr_r999'}, 'known: .*rtdetr_r18'),
    ],
)
def test_unknown_detector_is_refused_with_the_known_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_detector(**arguments)


def test_frozen_layouts_train_neither_stem_nor_backbone_norms():
    with torch.device('meta'):
        detector = build_detector('anydepth_rtdetr_r50')
    trained = {name for name, p in detector.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in detector.parameters() if p.requires_grad) == 42_875_660
    assert not any(name.startswith('backbone.stem') for name in trained)
    assert not any('norm' in name for name in trained if name.startswith('backbone'))

"""Published names and shapes: whose weights they are, and how they become ours."""

from __future__ import annotations

from functools import cache
import re

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import convert_state_dict
from anydepth_core.checkpoint.convert import fit
from anydepth_core.checkpoint.identify import identify, UnsupportedError
from anydepth_core.checkpoint.names import published_names, twin
from anydepth_core.checkpoint.names_hf import official_names
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.published import golden_shapes, published_state_dict

Shapes = dict[str, tuple[int, ...]]
RTDETR = [f'rtdetr_{scale}' for scale in ('r18', 'r34', 'r50', 'r50_m', 'r101')]
ANY_DEPTH_RTDETR = ['anydepth_rtdetr_r50', 'anydepth_rtdetr_r101']
ANY_DEPTH_YOLO = [(scale, variant) for scale in 'nslx' for variant in ('orig', 'switch')]


@cache
def meta(name: str, variant: str | None = None, num_classes: int = 80) -> Detector:
    with torch.device('meta'):
        detector: Detector = build_detector(name, variant, num_classes)
    return detector


def empty(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}


def vanilla_yolo(name: str, num_classes: int = 80) -> Shapes:
    state = published_state_dict(meta(name, None, num_classes), any_depth=False)
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize('variant', ['corrected', 'published'])
@pytest.mark.parametrize('name', ANY_DEPTH_RTDETR)
def test_published_any_depth_rtdetr_fits(name: str, variant: str) -> None:
    shapes = golden_shapes(f'keys_detr_{name.rpartition("_")[2]}.json')
    found = identify(shapes)
    assert (found.name, found.variant, found.num_classes) == (name, None, 80)
    weights, report = fit(empty(shapes), meta(name, variant))
    assert report.any_depth and report.taken == len(shapes) and not report.ignored
    projections = {key for key in weights if re.match(r'decoder\.input_proj\.\d\.norm_base', key)}
    assert set(report.copied) == projections
    assert len(projections) == (9 if variant == 'corrected' else 0)


@pytest.mark.parametrize('name', RTDETR)
def test_official_rtdetr_fits(name: str) -> None:
    shapes = golden_shapes(f'keys_{name}.json')
    found = identify(shapes)
    assert (found.name, found.num_classes) == (name, 80)
    weights, report = fit(empty(shapes), meta(name))
    assert not report.any_depth and report.taken == len(shapes) and not report.ignored
    assert len(weights) == len(shapes) + len(report.copied)


@pytest.mark.parametrize(('scale', 'variant'), ANY_DEPTH_YOLO)
def test_published_any_depth_yolo_fits(scale: str, variant: str) -> None:
    shapes = golden_shapes(f'keys_yolo_{scale}_{variant}.txt.gz')
    found = identify(shapes)
    assert (found.name, found.variant, found.num_classes) == (
        f'anydepth_yolov12{scale}',
        variant,
        80,
    )
    _, report = fit(empty(shapes), meta(found.name, variant))
    assert report.any_depth and report.taken == len(shapes)
    assert not report.copied and not report.ignored


@pytest.mark.parametrize(('scale', 'entries'), zip('nsmlx', (739, 739, 799, 1341, 1341)))
def test_official_yolo_fits(scale: str, entries: int) -> None:
    shapes = vanilla_yolo(f'yolov12{scale}', num_classes=7)
    assert len(shapes) == entries
    found = identify(shapes)
    assert (found.name, found.variant, found.num_classes) == (f'yolov12{scale}', None, 7)
    _, report = fit(empty(shapes), meta(found.name, None, 7))
    assert not report.any_depth and report.taken == entries


@pytest.mark.parametrize('variant', ['orig', 'switch'])
@pytest.mark.parametrize('scale', 'lx')
def test_official_l_and_x_fill_the_any_depth_detectors(scale: str, variant: str) -> None:
    shapes = vanilla_yolo(f'yolov12{scale}')
    name = f'anydepth_yolov12{scale}'
    assert name in identify(shapes).names
    assert len(fit(empty(shapes), meta(name, variant))[0]) == len(meta(name, variant).state_dict())


def test_official_names_of_yolo_are_those_of_the_reference() -> None:
    names = set(vanilla_yolo('yolov12m'))
    assert {
        'model.1.conv.weight',
        'model.2.m.0.m.1.cv2.bn.weight',
        'model.6.m.1.1.attn.pe.conv.weight',
        'model.8.cv2.conv.weight',
        'model.11.m.0.cv3.conv.weight',
        'model.20.m.0.m.0.cv1.bn.running_var',
        'model.21.cv3.2.1.0.bn.bias',
        'model.21.dfl.conv.weight',
    } <= names
    assert not [name for name in names if 'gamma' in name or 'skip' in name]
    assert 'model.6.gamma' in vanilla_yolo('yolov12l')


@pytest.mark.parametrize('name', ['yolov12n', 'anydepth_yolov12s'])
def test_norms_of_the_base_depth_are_copies(name: str) -> None:
    torch.manual_seed(0)
    source = build_detector(name, num_classes=3)
    for value in source.state_dict().values():
        if value.is_floating_point():
            value.uniform_()
    state = published_state_dict(source, any_depth=False)
    target = build_detector(name, num_classes=3)
    target.load_state_dict(convert_state_dict(state, target))
    weights, given = target.state_dict(), source.state_dict()
    copies = [key for key in weights if key != twin(key)]
    assert copies
    for key in copies:
        full, base = weights[twin(key)], weights[key]
        assert torch.equal(base, full if full.dim() < 2 else full[:, : base.shape[1]])
    assert all(torch.equal(weights[key], given[key]) for key in weights if key == twin(key))


def test_the_base_convolution_is_the_first_part_of_the_full_one() -> None:
    detector = build_detector('anydepth_yolov12s', num_classes=3)
    state = published_state_dict(detector, any_depth=False)
    weights = convert_state_dict(state, detector)
    key = 'backbone.stages.2.block.cv2.conv_base.weight'
    assert weights[key].shape == (256, 384, 1, 1)
    assert torch.equal(weights[key], state['model.6.cv2.conv.weight'][:, :384])


def test_any_depth_files_keep_their_own_base() -> None:
    torch.manual_seed(0)
    source = build_detector('anydepth_yolov12s', num_classes=3)
    for value in source.state_dict().values():
        if value.is_floating_point():
            value.uniform_()
    target = build_detector('anydepth_yolov12s', num_classes=3)
    target.load_state_dict(convert_state_dict(published_state_dict(source), target))
    weights = target.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in source.state_dict().items())


@pytest.mark.parametrize(
    ('name', 'official'),
    [
        (
            'model.backbone.model.encoder.stages.2.layers.0.shortcut.1.normalization.bias',
            'backbone.res_layers.2.blocks.0.short.conv.norm.bias',
        ),
        ('model.encoder_input_proj.1.0.weight', 'encoder.input_proj.1.0.weight'),
        ('model.decoder_input_proj.1.1.bias', 'decoder.input_proj.1.norm.bias'),
        (
            'model.encoder.aifi.0.layers.0.mlp.fc2.bias',  # transformers 5, in memory
            'encoder.encoder.0.layers.0.linear2.bias',
        ),
        (
            'model.encoder.aifi.0.layers.0.final_layer_norm.bias',
            'encoder.encoder.0.layers.0.norm2.bias',
        ),
        (
            'model.decoder.layers.5.self_attn.o_proj.bias',
            'decoder.decoder.layers.5.self_attn.out_proj.bias',
        ),
        ('model.decoder.layers.5.final_layer_norm.bias', 'decoder.decoder.layers.5.norm3.bias'),
        ('class_embed.2.weight', 'decoder.dec_score_head.2.weight'),  # transformers 4, in memory
        ('model.decoder.bbox_embed.0.layers.2.bias', 'decoder.dec_bbox_head.0.layers.2.bias'),
        ('model.denoising_class_embed.weight', 'decoder.denoising_class_embed.weight'),
        ('model.decoder.query_pos_head.layers.0.bias', 'decoder.query_pos_head.layers.0.bias'),
    ],
)
def test_hugging_face_names(name: str, official: str) -> None:
    assert list(official_names({name: torch.ones(1)})) == [official]


def test_hugging_face_projections_are_joined_in_the_order_query_key_value() -> None:
    parts = {f'model.decoder.layers.0.self_attn.{letter}_proj.bias' for letter in 'kqv'}
    tensors = {name: torch.full((2,), 'qkv'.index(name[-11])) for name in sorted(parts)}
    (joined,) = official_names(tensors).items()
    assert joined[0] == 'decoder.decoder.layers.0.self_attn.in_proj_bias'
    assert joined[1].tolist() == [0, 0, 1, 1, 2, 2]


def test_early_any_depth_files_have_no_convolution_for_the_base_depth() -> None:
    shapes = golden_shapes('keys_yolo_s_orig.txt.gz')
    early = {name: shape for name, shape in shapes.items() if 'conv_skip' not in name}
    assert len(early) == len(shapes) - 2
    _, report = fit(empty(early), meta('anydepth_yolov12s'))
    assert report.any_depth
    assert set(report.copied) == {
        f'backbone.stages.{stage}.block.cv2.conv_base.weight' for stage in (2, 3)
    }
    half = {name: shape for name, shape in shapes.items() if 'model.6.cv2.conv_skip' not in name}
    with pytest.raises(ValueError, match='1 missing .model.6.cv2.conv_skip.weight'):
        fit(empty(half), meta('anydepth_yolov12s'))


def test_half_precision_becomes_the_precision_of_the_detector() -> None:
    detector = build_detector('yolov12n', num_classes=3)
    state = published_state_dict(detector, any_depth=False)
    half = {key: value.half() if value.dim() else value for key, value in state.items()}
    converted = convert_state_dict(half, detector)
    assert {value.dtype for value in converted.values()} == {torch.float32, torch.int64}
    assert all(value.is_contiguous() for value in converted.values())


def test_counters_may_be_missing_and_what_carries_no_weight_is_ignored() -> None:
    shapes = golden_shapes('keys_rtdetr_r18.json')
    without = {key: shape for key, shape in shapes.items() if 'num_batches' not in key}
    weights, report = fit(empty(without), meta('rtdetr_r18'))
    assert len(weights) == len(meta('rtdetr_r18').state_dict())
    frozen = golden_shapes('keys_rtdetr_r50.json')
    extra = {
        'decoder.anchors': (1, 8400, 4),
        'decoder.valid_mask': (1, 8400, 1),
        'backbone.conv1.conv1_1.norm.num_batches_tracked': (),
    }
    weights, report = fit(empty({**frozen, **extra}), meta('rtdetr_r50'))
    assert set(report.ignored) == set(extra)
    assert '3 ignored (decoder.anchors' in str(report)


def test_a_second_norm_that_is_missing_is_not_made_up() -> None:
    shapes = golden_shapes('keys_detr_r50.json')
    del shapes['encoder.lateral_convs.0.norm_skippable.weight']
    with pytest.raises(ValueError, match=r'1 missing \(encoder.lateral_convs.0.norm_skippable.w'):
        fit(empty(shapes), meta('anydepth_rtdetr_r50'))


def test_missing_unexpected_and_misshaped_keys_are_listed() -> None:
    shapes = golden_shapes('keys_rtdetr_r18.json')
    shapes['decoder.more'] = shapes.pop('decoder.enc_output.0.bias')
    shapes['encoder.lateral_convs.0.conv.weight'] = (256, 8, 1, 1)
    with pytest.raises(ValueError) as caught:
        fit(empty(shapes), meta('rtdetr_r18'))
    message = str(caught.value)
    assert 'do not fit rtdetr_r18 (corrected, 80 classes)' in message
    assert '1 missing (decoder.enc_output.0.bias)' in message
    assert '1 unexpected (decoder.more)' in message
    assert '1 misshaped (encoder.lateral_convs.0.conv.weight (256, 8, 1, 1) instead of' in message


@pytest.mark.parametrize(
    ('shapes', 'detector', 'message'),
    [
        (
            golden_shapes('keys_rtdetr_r18.json'),
            ('yolov12n', None, 80),
            'these are weights of rtdetr_r18 with 80 classes, the detector is yolov12n with 80',
        ),
        (
            golden_shapes('keys_yolo_n_orig.txt.gz'),
            ('rtdetr_r50', None, 80),
            'weights of anydepth_yolov12n with 80 classes, the detector is rtdetr_r50',
        ),
        (
            golden_shapes('keys_rtdetr_r50.json'),
            ('rtdetr_r50', None, 5),
            'weights of rtdetr_r50 with 80 classes, the detector is rtdetr_r50 with 5 classes',
        ),
        (
            golden_shapes('keys_detr_r50.json'),
            ('rtdetr_r50', None, 80),
            'weights of anydepth_rtdetr_r50 with 80 classes, the detector is rtdetr_r50',
        ),
        (
            golden_shapes('keys_yolo_n_orig.txt.gz'),
            ('anydepth_yolov12n', 'switch', 80),
            'do not fit anydepth_yolov12n .switch, 80 classes.: ',
        ),
    ],
)
def test_weights_of_another_detector_are_refused_by_name(
    shapes: Shapes, detector: tuple[str, str | None, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit(empty(shapes), meta(*detector))


def ultralytics_yolo12() -> Shapes:
    """Change turbo n into the form of the v1.0 release: qkv in one, stem without groups."""
    shapes = {
        name.replace('.qk.', '.qkv.'): shape
        for name, shape in vanilla_yolo('yolov12n').items()
        if '.attn.v.' not in name
    }
    return {**shapes, 'model.1.conv.weight': (32, 16, 3, 3)}


@pytest.mark.parametrize(
    ('shapes', 'message'),
    [
        (ultralytics_yolo12(), 'YOLOv12 v1.0 release or of yolo12 of the ultralytics package'),
        ({'backbone.pre.0.weight': (96, 3, 4, 4)}, 'Swin'),
    ],
)
def test_known_forms_that_are_not_supported_are_named(shapes: Shapes, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        identify(shapes)
    with pytest.raises(ValueError, match=message):
        convert_state_dict(empty(shapes), meta('yolov12n'))


@pytest.mark.parametrize(
    ('shapes', 'message'),
    [
        ({'conv1.weight': (64, 3, 7, 7)}, r'no detector known here \(first names: conv1.weight\)'),
        ({}, 'first names: none at all'),
        (
            {'model.0.conv.weight': (16, 3, 3, 3), 'model.6.m.0.cv1.conv.weight': (8, 16, 3, 3)},
            '16 channels in the first layer, 1 repeats in layer 6 without area attention',
        ),
        (
            {
                'backbone.conv1.conv1_1.conv.weight': (32, 3, 3, 3),
                'backbone.res_layers.0.blocks.0.branch2a.conv.weight': (64, 64, 3, 3),
            },
            r'backbone blocks 1, 0, 0, 0\)',
        ),
    ],
)
def test_strange_weights_are_refused(shapes: Shapes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        identify(shapes)


@pytest.mark.parametrize('name', [*RTDETR, *ANY_DEPTH_RTDETR, 'yolov12m', 'anydepth_yolov12x'])
def test_every_key_has_a_name_of_its_own_but_for_twins(name: str) -> None:
    detector = meta(name)
    names = published_names(detector)
    own = [key for key in names if names[key] != names[twin(key)] or key == twin(key)]
    assert len({names[key] for key in own}) == len(own)
    assert all(twin(key) in names for key in names)

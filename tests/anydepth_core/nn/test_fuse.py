"""The deployment form computes what the detector computes, at each depth, with less."""

from __future__ import annotations

from functools import partial
import itertools

import pytest
import torch
from torch import nn

from anydepth_core import build_detector
from anydepth_core.depth import DepthConfig
from anydepth_core.models.rtdetr.blocks import RepVggBlock
from anydepth_core.nn.conv import ConvNorm
from anydepth_core.nn.fuse import fuse
from anydepth_core.nn.norm import FrozenBatchNorm
from tests import golden
from tests.anydepth_core.models import test_yolov12_golden as golden_yolov12
from tests.anydepth_core.models.rtdetr import test_golden as golden_rtdetr
from tests.anydepth_core.support.lively import lively_detector
from tests.anydepth_core.support.tiny_rtdetr import lively_rtdetr, tiny_rtdetr

MIXED = ('0111-1', '1010-0', '0001-1', '1111-0')
DETECTORS = {
    'basic blocks': lively_rtdetr,
    'bottlenecks, frozen norms': partial(
        lively_rtdetr, bottleneck=True, frozen=True, deep_stem=False, expansion=1.0
    ),
    'published projection': partial(lively_rtdetr, 'published'),
    'yolov12 orig': lively_detector,
    'yolov12 switch': partial(lively_detector, 'switch'),
    'yolov12 official': partial(lively_detector, name='yolov12n'),
}


def images(height=64, width=96):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)


def difference(detector, depth, x):
    """Largest difference between the detector and its fused form, in outputs and all maps."""
    fused = fuse(detector, depth)
    with torch.no_grad():
        one, other = detector(x, depth), fused(x, depth)
    pairs = [(one.decoded, other.decoded), *zip(one.stage_maps, other.stage_maps)]
    assert one.decoded.std() > 0.1  # there is something to compare
    return max((a - b).abs().max().item() for a, b in pairs)


def some_depths(space):
    """Full and base, either half alone, every other stage; each number of decoder layers."""
    count, layers = len(space.stages), space.most_decoder_layers
    backbone = [index < space.backbone_stages for index in range(count)]
    flags = [[True] * count, [False] * count, backbone, [not bit for bit in backbone]]
    flags += [[index % 2 == odd for index in range(count)] for odd in (0, 1)]
    return [
        DepthConfig(tuple(bits), None if layers is None else 1 + number % layers)
        for number, bits in enumerate(flags)
    ]


@pytest.mark.parametrize('name', DETECTORS)
def test_fused_equals_unfused(name):
    detector = DETECTORS[name]().double()
    for depth in some_depths(detector.depth_space):
        assert difference(detector, depth, images()) < 1e-8, detector.depth_space.format(depth)


def test_fused_equals_unfused_at_every_depth():
    detector = lively_rtdetr().double()
    for flags in itertools.product((True, False), repeat=5):
        depth = DepthConfig(flags, 1 + sum(flags) % 4)
        assert difference(detector, depth, images()) < 1e-8, detector.depth_space.format(depth)


@pytest.mark.parametrize('depth', ['full', 'base', *MIXED])
def test_the_published_layout_fused_equals_unfused(depth):
    detector = golden_rtdetr.load('detr_r50', torch.float64)[1]
    assert difference(detector, depth, images(96, 64)) < 1e-8


@pytest.mark.parametrize('mask', ['full', 'base', 'alt0', 'alt1'])
def test_a_weight_of_its_own_for_the_narrowed_input_is_taken(mask):
    pack, detector = golden_yolov12.load('yolo_s_orig', torch.float64)
    depth = DepthConfig(tuple(not skip for skip in pack.meta['masks'][mask]))
    assert difference(detector, depth, images()) < 1e-8


@pytest.mark.parametrize(
    'config', ['FFFF-F-D6', 'TTTT-T-D4', 'FFFF-T-D6', 'TFTF-T-D5', 'FFTF-F-D6', 'FFFF-F-D1']
)
def test_fused_rtdetr_equals_the_golden_pack_in_float32(config):
    pack, detector = golden_rtdetr.load('detr_r50', torch.float32)
    entry = pack.meta['images']['sq']
    depth = golden_rtdetr.depth_of(config)
    with torch.no_grad():
        raw = fuse(detector, depth)(
            torch.from_numpy(golden.image(entry['seed'], entry['shape'])), depth
        )
    maps = [stage_map.numpy() for stage_map in raw.features]
    found = (raw.logits.numpy(), raw.boxes.numpy(), raw.tokens.numpy(), maps[:3], maps[3:])
    errors = golden.detr_errors(pack, 'sq', config, *found)
    assert set(errors) == set(golden_rtdetr.FLOAT32)
    for figure, limit in golden_rtdetr.FLOAT32.items():
        assert errors[figure] <= limit, f'{figure}: {errors[figure]}'


@pytest.mark.parametrize('name', ['yolo_n_switch', 'yolo_s_orig'])
@pytest.mark.parametrize('mask', ['full', 'base', 'alt1'])
def test_fused_yolov12_equals_the_golden_pack_in_float32(name, mask):
    pack, detector = golden_yolov12.load(name, torch.float32)
    entry = pack.meta['images']['rect']
    depth = DepthConfig(tuple(not skip for skip in pack.meta['masks'][mask]))
    with torch.no_grad():
        raw = fuse(detector, depth)(
            torch.from_numpy(golden.image(entry['seed'], entry['shape'])), depth
        )
    levels, features = ([x.numpy() for x in maps] for maps in (raw.levels, raw.features))
    errors = golden.errors(pack, 'rect', mask, raw.decoded.numpy(), levels, features)
    limits = golden_yolov12.TOLERANCES[torch.float32]
    assert set(errors) == set(limits)
    for figure, limit in limits.items():
        assert errors[figure] < limit, f'{figure}: {errors[figure]}'


@pytest.mark.parametrize(
    'name', ['anydepth_rtdetr_r50', 'rtdetr_r18', 'rtdetr_r50_m', 'anydepth_yolov12s', 'yolov12m']
)
def test_fused_has_fewer_parameters_and_no_norm(name):
    with torch.device('meta'):
        detector = build_detector(name)
    whole = sum(p.numel() for p in detector.parameters())
    spent = (nn.BatchNorm2d, FrozenBatchNorm, ConvNorm, RepVggBlock)
    for depth in ('full', 'base'):
        fused = fuse(detector, depth)
        assert not [module for module in fused.modules() if isinstance(module, spent)]
        assert not list(fused.buffers())
        assert sum(p.numel() for p in fused.parameters()) < whole


def test_what_a_depth_does_not_use_is_gone():
    detector = tiny_rtdetr()
    keys = fuse(detector, '0110-0d2').state_dict()
    owners = {key.rpartition('.')[0] for key in keys}
    refined = {key.split('.refinement')[0] for key in owners if '.refinement' in key}
    assert refined == {'backbone.stages.1', 'backbone.stages.2'}
    assert {key.split('.')[2] for key in owners if key.startswith('decoder.layers')} == {'0', '1'}
    assert [key for key in owners if key.endswith('.score_head')] == [
        'decoder.layers.1.score_head'
    ]
    assert not any(key.startswith('decoder.denoising_class_embed') for key in keys)
    assert 'neck.transformer.norm1_base' in owners and 'neck.transformer.norm1' not in owners
    assert 'neck.transformer.norm1' in {
        key.rpartition('.')[0] for key in fuse(detector, 'full').state_dict()
    }


def test_the_detector_is_not_changed():
    detector = tiny_rtdetr().train()
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    space = detector.depth_space
    fused = fuse(detector, 'base')
    with torch.no_grad():
        fused(images().float(), 'base')
    after = detector.state_dict()
    assert before.keys() == after.keys() and detector.depth_space is space
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert detector.training and any(p.requires_grad for p in detector.parameters())
    assert not any(module.training for module in fused.modules())
    assert not any(p.requires_grad for p in fused.parameters())


def test_another_depth_is_refused():
    fused = fuse(tiny_rtdetr(), '1111-1')
    fused(images().float(), 'full')
    message = r'fused for depth 1111-1d3 and cannot run at 0000-0d2: fuse the original'
    with pytest.raises(ValueError, match=message):
        fused(images().float(), 'base')
    with pytest.raises(ValueError, match='cannot run at 1111-1d2'):
        fuse(fused, '1111-1d2')
    with pytest.raises(ValueError, match='is not legal'):
        fused(images().float(), '1111')


def test_fusing_again_for_the_same_depth_changes_nothing():
    fused = fuse(tiny_rtdetr(), 'base')
    again = fuse(fused, '0000-0d2').state_dict()
    assert fused.state_dict().keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in fused.state_dict().items())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_the_precision_stays(dtype):
    fused = fuse(tiny_rtdetr().to(dtype), 'full')
    assert {value.dtype for value in fused.state_dict().values()} == {dtype}

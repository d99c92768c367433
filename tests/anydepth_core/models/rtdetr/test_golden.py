"""Parity with the golden packs: numbers computed by the published implementations."""

from functools import lru_cache
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import convert_state_dict
from anydepth_core.depth import DepthConfig
from tests import golden

FOLDER = Path(__file__).parents[3] / 'data' / 'golden'
PACKS = {
    'detr_r50': 'anydepth_rtdetr_r50',
    'rtdetr_vanilla_r18': 'rtdetr_r18',
    'rtdetr_vanilla_r50': 'rtdetr_r50',
}
KEYS = {
    'anydepth_rtdetr_r50': ('keys_detr_r50', 953, 42_885_068),
    'anydepth_rtdetr_r101': ('keys_detr_r101', 1316, 76_556_364),
    'rtdetr_r18': ('keys_rtdetr_r18', 533, 20_184_464),
    'rtdetr_r34': ('keys_rtdetr_r34', 659, 31_441_668),
    'rtdetr_r50': ('keys_rtdetr_r50', 736, 42_891_372),
    'rtdetr_r50_m': ('keys_rtdetr_r50_m', 760, 36_593_772),
    'rtdetr_r101': ('keys_rtdetr_r101', 991, 76_556_268),
}
# the tolerances of the packs' own documentation
FLOAT64 = {
    'topk_missing': 0, 'topk_moved': 0, 'boxes': 2e-6, 'logits': 1e-4, 'logit_mean': 2e-5,
    'backbone': 2e-6, 'backbone_mean': 1e-6, 'encoder': 2e-6, 'encoder_mean': 1e-6,
}  # fmt: skip
FLOAT32 = {
    'topk_missing': 0, 'topk_moved': 0, 'boxes': 2e-4, 'logits': 3e-3, 'logit_mean': 5e-4,
    'backbone': 1e-4, 'backbone_mean': 2e-5, 'encoder': 5e-4, 'encoder_mean': 1e-4,
}  # fmt: skip
BIG = {**FLOAT32, 'boxes': 1e-3, 'logits': 2e-2, 'logit_mean': 2e-3}


def cases():
    """All of float32; in float64 the packs' ends and two mixed depths, because it is slow."""
    chosen = {'FFFF-F-D6', 'TTTT-T-D4', 'TFTF-T-D5', 'FTFF-F-D6', 'D3', 'D6'}
    for name in PACKS:
        for image, entry in golden.load(FOLDER / f'{name}.npz').meta['images'].items():
            for config in entry['configs']:
                yield name, image, config, torch.float32
                if image == 'sq' and config in chosen:
                    yield name, image, config, torch.float64


@lru_cache(maxsize=2)
def load(name, dtype):
    pack = golden.load(FOLDER / f'{name}.npz')
    state = golden.state_dict(pack)
    assert golden.check_weights(pack, state) < 1e-5
    detector = build_detector(PACKS[name])
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    detector.load_state_dict(convert_state_dict(tensors, detector))
    return pack, detector.eval().to(dtype)


def depth_of(config):
    """Depth of a pack's configuration, where T leaves the refinement out: FTFF-T-D4, or D6."""
    *flags, layers = config.split('-')
    skipped = ''.join(flags) or 'FFFFF'
    return DepthConfig(tuple(flag == 'F' for flag in skipped), int(layers[1:]))


@pytest.mark.parametrize(
    ('name', 'image', 'config', 'dtype'), sorted(cases(), key=lambda c: (c[0], str(c[3])))
)
def test_outputs_equal_the_golden_pack(name, image, config, dtype):
    pack, detector = load(name, dtype)
    entry = pack.meta['images'][image]
    images = torch.from_numpy(golden.image(entry['seed'], entry['shape'])).to(dtype)
    with torch.no_grad():
        raw = detector(images, depth_of(config))
    maps = [stage_map.numpy() for stage_map in raw.features]
    errors = golden.detr_errors(
        pack,
        image,
        config,
        raw.logits.numpy(),
        raw.boxes.numpy(),
        raw.tokens.numpy(),
        maps[:3],
        maps[3:],
    )
    limits = FLOAT64 if dtype == torch.float64 else BIG if image == 'big' else FLOAT32
    assert set(errors) == set(limits)
    for figure, limit in limits.items():
        assert errors[figure] <= limit, f'{figure}: {errors[figure]}'


@pytest.mark.parametrize('name', list(KEYS))
def test_every_published_key_has_its_place(name):
    file, entries, _ = KEYS[name]
    keys = json.loads((FOLDER / f'{file}.json').read_text())
    assert len(keys) == entries
    with torch.device('meta'):
        detector = build_detector(name)
        published = {key: torch.empty(shape) for key, shape, _ in keys}
    converted = convert_state_dict(published, detector)
    own = detector.state_dict()
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in own.items()}


@pytest.mark.parametrize('name', list(KEYS))
def test_parameters_equal_the_published_counts_without_second_norms(name):
    with torch.device('meta'):
        detector = build_detector(name)
    counted = {
        key: value.numel()
        for key, value in detector.named_parameters()
        if name.startswith('anydepth') or '_base.' not in key
    }
    assert sum(counted.values()) == KEYS[name][2]

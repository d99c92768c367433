"""Parity with the golden packs: numbers computed by the published implementation."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import convert_state_dict
from anydepth_core.depth import DepthConfig
from tests import golden

FOLDER = Path(__file__).parents[2] / 'data' / 'golden'
PACKS = sorted(path.stem for path in FOLDER.glob('yolo_*.npz') if 'loss' not in path.stem)
TOLERANCES = {
    torch.float32: {'box': 0.05, 'score': 2e-4, 'raw': 3e-4, 'raw_stat': 1e-5, 'gap': 2e-4},
    torch.float64: {'box': 1e-4, 'score': 1e-6, 'raw': 1e-6, 'raw_stat': 1e-6, 'gap': 1e-6},
}


def cases():
    for name in PACKS:
        for image, entry in golden.load(FOLDER / f'{name}.npz').meta['images'].items():
            for mask in entry['masks']:
                yield name, image, mask


@lru_cache(maxsize=2)
def load(name, dtype):
    pack = golden.load(FOLDER / f'{name}.npz')
    state = golden.state_dict(pack)
    assert golden.check_weights(pack, state) < 1e-5
    detector = build_detector(
        f'anydepth_yolov12{pack.meta["scale"]}',
        variant=pack.meta['variant'],
        num_classes=pack.meta['nc'],
    )
    state = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    detector.load_state_dict(convert_state_dict(state, detector))
    return pack, detector.eval().to(dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=['float32', 'float64'])
@pytest.mark.parametrize(('name', 'image', 'mask'), list(cases()))
def test_outputs_equal_the_golden_pack(name, image, mask, dtype):
    pack, detector = load(name, dtype)
    entry = pack.meta['images'][image]
    images = torch.from_numpy(golden.image(entry['seed'], entry['shape'])).to(dtype)
    depth = DepthConfig(tuple(not skip for skip in pack.meta['masks'][mask]))
    with torch.no_grad():
        raw = detector(images, depth)
    errors = golden.errors(
        pack,
        image,
        mask,
        raw.decoded.numpy(),
        [level.numpy() for level in raw.levels],
        [feature.numpy() for feature in raw.features],
    )
    assert set(errors) == set(TOLERANCES[dtype])
    for figure, limit in TOLERANCES[dtype].items():
        assert errors[figure] < limit, f'{figure}: {errors[figure]}'

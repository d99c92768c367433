"""Any-depth YOLOv12: sizes, depths, and what each pass may touch."""

import gzip
from pathlib import Path

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import convert_state_dict
from anydepth_core.checkpoint.names import published_names
from tests.anydepth_core.support.lively import lively_detector

FOLDER = Path(__file__).parents[2] / 'data' / 'golden'
COUNTS = {
    ('n', 'orig'): (1582, 3_310_288),
    ('n', 'switch'): (1617, 3_310_944),
    ('s', 'orig'): (1728, 7_443_008),
    ('s', 'switch'): (1763, 7_443_808),
    ('l', 'orig'): (1898, 27_347_712),
    ('l', 'switch'): (1943, 27_349_504),
    ('x', 'orig'): (1898, 61_265_824),
    ('x', 'switch'): (1943, 61_268_512),
}


def detector_n(variant='orig', num_classes=5):
    torch.manual_seed(0)
    return build_detector('anydepth_yolov12n', variant=variant, num_classes=num_classes)


def images(batch=1, height=64, width=96):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def refinements(detector):
    return [m for name, m in detector.named_modules() if name.rpartition('.')[2] == 'refinement']


@pytest.mark.parametrize(('scale', 'variant'), list(COUNTS))
def test_counts_and_keys_equal_the_published_ones(scale, variant):
    with torch.device('meta'):
        detector = build_detector(f'anydepth_yolov12{scale}', variant=variant)
    state = detector.state_dict()
    assert (len(state), sum(p.numel() for p in detector.parameters())) == COUNTS[scale, variant]
    keys = (FOLDER / f'keys_yolo_{scale}_{variant}.txt.gz').read_bytes()
    listed = gzip.decompress(keys).decode().split('\n')
    published = {
        line.partition(' ')[0]: tuple(map(int, filter(None, line.partition(' ')[2].split(','))))
        for line in listed
        if line
    }
    names = published_names(detector)
    assert {names[key]: tuple(value.shape) for key, value in state.items()} == published


@pytest.mark.parametrize('variant', ['orig', 'switch'])
def test_every_depth_runs_and_gives_the_same_shapes(variant):
    detector = lively_detector(variant)
    outputs = set()
    with torch.no_grad():
        for depth in detector.depth_space.all():
            raw = detector(images(), depth)
            assert [tuple(level.shape) for level in raw.levels] == [
                (1, 69, 8, 12),
                (1, 69, 4, 6),
                (1, 69, 2, 3),
            ]
            assert raw.decoded.shape == (1, 9, 126)
            assert torch.isfinite(raw.decoded).all()
            outputs.add(tuple(level.double().sum().item() for level in raw.levels))
    assert len(outputs) == 256


def test_features_are_pooled_outputs_of_seven_stages():
    detector = detector_n().eval()
    features = detector.features(images(2), 'full')
    assert [tuple(f.shape) for f in features] == [
        (2, c) for c in (128, 128, 256, 128, 64, 128, 256)
    ]


@pytest.mark.parametrize('variant', ['orig', 'switch'])
def test_base_pass_gives_no_gradient_to_refinements(variant):
    detector = detector_n(variant)
    sum(level.sum() for level in detector(images(2), 'base').levels).backward()
    refined = [p for module in refinements(detector) for p in module.parameters()]
    assert refined and all(p.grad is None for p in refined)
    essential = [p for name, p in detector.named_parameters() if 'norm_base' in name]
    assert essential and all(p.grad is not None for p in essential)


@pytest.mark.parametrize('variant', ['orig', 'switch'])
def test_base_output_does_not_depend_on_refinements_nor_on_the_full_norms(variant):
    detector = lively_detector(variant)
    with torch.no_grad():
        base, full = (detector(images(), depth).decoded for depth in ('base', 'full'))
        for module in refinements(detector):
            for parameter in module.parameters():
                parameter.add_(1.0)
        assert torch.equal(detector(images(), 'base').decoded, base)
        assert not torch.equal(detector(images(), 'full').decoded, full)


def test_each_pass_updates_only_its_own_norms():
    detector = detector_n()
    before = {k: v.clone() for k, v in detector.state_dict().items() if 'running_mean' in k}
    detector(images(2), 'base')
    changed = {
        k
        for k, v in detector.state_dict().items()
        if k in before and not torch.equal(v, before[k])
    }
    shared = {k for k in before if k.startswith(('backbone.stem', 'head'))}
    assert changed == shared | {k for k in before if 'norm_base' in k}


def test_switching_depth_between_frames_changes_nothing_else():
    detector = lively_detector()
    with torch.no_grad():
        alone = {d: detector(images(), d).decoded for d in ('full', 'base', '1010-0101')}
        state = {k: v.clone() for k, v in detector.state_dict().items()}
        for depth in ('base', 'full', '1010-0101', 'base', '1010-0101', 'full'):
            assert torch.equal(detector(images(), depth).decoded, alone[depth])
    assert all(torch.equal(v, state[k]) for k, v in detector.state_dict().items())


def test_batch_equals_single_images():
    detector = lively_detector().double()
    batch = images(3).double()
    with torch.no_grad():
        together = detector(batch, '1100-0011').decoded
        single = torch.cat([detector(one[None], '1100-0011').decoded for one in batch])
    assert torch.allclose(together, single, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('depth', ['deep', '1111', 2, None])
def test_wrong_depth_is_refused(depth):
    with pytest.raises(ValueError, match="'full', 'base' or 8 bits"):
        detector_n().eval()(images(), depth)


@pytest.mark.parametrize('shape', [(1, 3, 60, 64), (1, 1, 64, 64), (3, 64, 64), (0, 3, 64, 64)])
def test_wrong_image_shape_is_refused(shape):
    with pytest.raises(ValueError, match='multiples of 32'):
        detector_n().eval()(torch.zeros(shape), 'full')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'name': 'yolo'}, 'known: anydepth_yolov12n'),
        ({'name': 'anydepth_yolov12n', 'variant': 'new'}, 'variants: orig, switch'),
        ({'name': 'anydepth_yolov12n', 'num_classes': 0}, 'at least 1'),
    ],
)
def test_unknown_detector_is_refused_with_the_known_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_detector(**arguments)


def test_conversion_lists_missing_unexpected_and_misshaped_keys():
    detector = detector_n()
    names = published_names(detector)
    state = {names[key]: value for key, value in detector.state_dict().items()}
    state['model.99.conv.weight'] = state.pop('model.0.conv.weight')
    state['model.1.bn.bias'] = torch.zeros(3)
    with pytest.raises(ValueError) as caught:
        convert_state_dict(state, detector)
    message = str(caught.value)
    assert '1 missing (model.0.conv.weight)' in message
    assert '1 unexpected (model.99.conv.weight)' in message
    assert '1 misshaped (model.1.bn.bias (3,) instead of (32,))' in message

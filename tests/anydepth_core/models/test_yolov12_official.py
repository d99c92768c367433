"""Official YOLOv12 turbo layouts made any-depth: sizes, and what each depth bit does."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import convert_state_dict
from anydepth_core.checkpoint.io import load_weights
from anydepth_core.evaluation.complexity import multiply_adds
from anydepth_core.export.onnx_export import build_master
from anydepth_core.export.specialise import specialise
from anydepth_core.export.verify import verify
from anydepth_core.models.detector import Detector
from tests.anydepth_core.support.lively import lively_detector
from tests.anydepth_core.support.published import published_state_dict

PARAMETERS = {'n': 2_553_904, 's': 9_127_424, 'm': 19_670_784, 'l': 26_506_496, 'x': 59_414_176}
SECOND_NORMS = {'n': 13_008, 's': 26_016, 'm': 38_272, 'l': 54_784, 'x': 82_176}
BASE_CONVOLUTIONS = {'n': 0, 's': 0, 'm': 0, 'l': 786_432, 'x': 1_769_472}
# giga multiply-adds at 640x640: convolutions and attention at full, then at base
COSTS = {
    ('n', 'orig'): (2.993, 0.492, 2.631, 0.246),
    ('s', 'orig'): (9.714, 0.983, 8.283, 0.492),
    ('m', 'orig'): (29.899, 1.638, 25.036, 0.819),
    ('l', 'orig'): (41.196, 3.277, 29.374, 1.638),
    ('l', 'switch'): (41.196, 3.277, 30.738, 1.638),
}
# what leaving out the refinement of one stage saves
SAVINGS_OF_N = (0, 0, 0.287, 0.202, 0.029, 0.029, 0.029, 0.029)


def images(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def only_without(stage: int) -> str:
    bits = ['1'] * 8
    bits[stage] = '0'
    return ''.join((*bits[:4], '-', *bits[4:]))


@cache
def lively_n() -> Detector:
    """A detector whose every weight matters, with norms of its own for the base depth."""
    return lively_detector(name='yolov12n')


@cache
def vanilla_n() -> Detector:
    """The same after losing its base norms: converted from the official form."""
    detector: Detector = build_detector('yolov12n', num_classes=5)
    state = published_state_dict(lively_n(), any_depth=False)
    load_weights(detector, convert_state_dict(state, detector))
    return detector.eval()


@pytest.mark.parametrize('scale', 'nsmlx')
def test_parameters_are_the_official_ones_and_those_of_the_base_depth(scale: str) -> None:
    with torch.device('meta'):
        detector = build_detector(f'yolov12{scale}')
    counts = {'norm_base': 0, 'conv_base': 0, 'official': 0}
    for name, parameter in detector.named_parameters():
        part = next((part for part in counts if f'.{part}.' in name), 'official')
        counts[part] += parameter.numel()
    assert counts == {
        'official': PARAMETERS[scale],
        'norm_base': SECOND_NORMS[scale],
        'conv_base': BASE_CONVOLUTIONS[scale],
    }


def test_two_classes_change_the_head_only() -> None:
    with torch.device('meta'):
        detector = build_detector('yolov12m', num_classes=2)
    names = [name for name, _ in detector.named_parameters() if '_base.' not in name]
    assert sum(detector.get_parameter(name).numel() for name in names) == 19_610_646


@pytest.mark.parametrize(
    ('scale', 'variant'),
    [pytest.param(*key, marks=[] if key == ('n', 'orig') else pytest.mark.slow) for key in COSTS],
)
def test_multiply_adds_are_those_of_the_reference(scale: str, variant: str) -> None:
    detector = build_detector(f'yolov12{scale}', variant)
    master = build_master(detector.eval())

    def cost(depth: str) -> dict[str, int]:
        flags = detector.depth_space.parse(depth).stages
        return multiply_adds(specialise(master, flags, (640, 640)))

    full, base = cost('full'), cost('base')
    found = [depth[kind] / 1e9 for depth in (full, base) for kind in ('conv', 'matmul')]
    assert found == pytest.approx(COSTS[scale, variant], abs=6e-4)
    if scale == 'n':
        savings = [full['total'] - cost(only_without(stage))['total'] for stage in range(8)]
        assert [saving / 1e9 for saving in savings] == pytest.approx(SAVINGS_OF_N, abs=6e-4)
        assert full['total'] - sum(savings) == base['total']


def test_every_depth_bit_selects_norms() -> None:
    detector = lively_n()
    depths = ['full', 'base', *(only_without(stage) for stage in range(8))]
    with torch.no_grad():
        outputs = [detector(images(), depth).decoded for depth in depths]
    assert all(one.shape == (1, 9, 126) and torch.isfinite(one).all() for one in outputs)
    assert len({one.double().sum().item() for one in outputs}) == len(depths)


def test_without_norms_of_their_own_stages_of_one_bottleneck_are_alike_at_both_depths() -> None:
    detector = vanilla_n()
    with torch.no_grad():
        full = detector(images(), 'full').decoded
        alike = [
            torch.equal(detector(images(), only_without(stage)).decoded, full)
            for stage in range(8)
        ]
    assert alike == [True, True, False, False, False, False, False, False]


def test_converted_weights_give_the_outputs_they_had_at_full_depth() -> None:
    with torch.no_grad():
        one, two = (d(images(), 'full').decoded for d in (lively_n(), vanilla_n()))
    assert torch.equal(one, two)


def test_base_pass_gives_no_gradient_to_refinements() -> None:
    detector = build_detector('yolov12n', num_classes=5)
    sum(level.sum() for level in detector(images(2), 'base').levels).backward()
    untouched = {name for name, p in detector.named_parameters() if p.grad is None}
    refinements = {name for name in untouched if '.refinement.' in name}
    assert {name.split('.block.')[0] for name in refinements} == {
        f'{part}.stages.{n}' for part, n in [('backbone', 2), ('backbone', 3)]
    } | {f'neck.stages.{n}' for n in range(4)}
    others = untouched - refinements - {'head.dfl.conv.weight'}
    assert all('.norm.' in name for name in others)


def test_the_second_bottleneck_of_a_single_c3k_has_one_norm() -> None:
    block = build_detector('yolov12n').get_submodule('neck.stages.0.block.essential.0')
    kinds = [
        {name for name, _ in block.get_submodule(part).named_modules() if 'norm_base' in name}
        for part in ('essential.0', 'refinement.0')
    ]
    assert kinds == [{'cv1.norm_base', 'cv2.norm_base'}, set()]


def test_attention_stages_have_a_residual_in_l_and_x_only() -> None:
    with torch.device('meta'):
        gammas = {
            scale: [
                n for n, _ in build_detector(f'yolov12{scale}').named_parameters() if 'gamma' in n
            ]
            for scale in 'nsmlx'
        }
    pair = ['backbone.stages.2.block.gamma', 'backbone.stages.3.block.gamma']
    assert gammas == {'n': [], 's': [], 'm': [], 'l': pair, 'x': pair}


@pytest.mark.parametrize('scale', 'nsm')
def test_where_no_block_has_two_repeats_there_is_one_variant(scale: str) -> None:
    with pytest.raises(
        ValueError, match=f'yolov12{scale} has no variant .switch.; variants: orig'
    ):
        build_detector(f'yolov12{scale}', 'switch')


def test_onnx_equals_torch_at_every_kind_of_depth() -> None:
    detector = lively_n()
    depths = ['full', 'base', '1101-0110']
    differences = verify(detector, build_master(detector), depths, [(64, 96)])
    assert len(differences) == 12
    assert all(difference.acceptable for difference in differences)

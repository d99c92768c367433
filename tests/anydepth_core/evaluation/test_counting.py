"""Multiply-adds of torch detectors: the known figures of every layout, from shapes alone."""

from __future__ import annotations

from collections import Counter
from functools import cache, partial

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from anydepth_core import build_detector
from anydepth_core.depth import DepthConfig
from anydepth_core.evaluation.counting import (
    count_multiply_adds,
    count_parameters,
    MultiplyAddCounter,
)
from tests.anydepth_core.support.tiny_rtdetr import tiny_rtdetr

SIZE = (640, 640)
BASE_ALL = '0000-0'  # no refinement, all evaluated decoder layers

# billions at 640x640, 80 classes: full; no refinement, all evaluated layers; base
PLAIN = {
    'anydepth_rtdetr_r50': (66.934, 41.349, 39.441),
    'anydepth_rtdetr_r101': (128.330, 72.100, 70.192),
    'rtdetr_r18': (30.744, 19.917, 18.964),
    'rtdetr_r34': (46.797, 30.308, 29.355),
    'rtdetr_r50': (68.890, 43.305, 41.397),
    'rtdetr_r50_m': (50.300, 34.545, 33.591),
    'rtdetr_r101': (130.286, 74.056, 72.148),
}
# the rule of the published logs; the first four figures are in those logs
PUBLISHED = {
    ('anydepth_rtdetr_r50', 'full'): 67.0283,
    ('anydepth_rtdetr_r50', '0000-0d4'): 39.505,
    ('anydepth_rtdetr_r101', 'full'): 128.4493,
    ('anydepth_rtdetr_r101', '0000-0d4'): 70.271,
    ('rtdetr_r50', 'full'): 68.984,
    ('rtdetr_r18', 'full'): 30.865,
    ('rtdetr_r34', 'full'): 46.944,
    ('rtdetr_r50_m', 'full'): 50.364,
    ('rtdetr_r101', 'full'): 130.405,
    ('anydepth_rtdetr_r50', '1010-1d6'): 67.0283 - 3.5652 - 1.7826,
    ('anydepth_rtdetr_r101', '1101-1d6'): 108.841,
    ('anydepth_rtdetr_r101', '1111-0d6'): 98.927,
}
# by stage, or 5 for one decoder layer: plain, and by the published rule where that is known
SAVINGS = {
    'anydepth_rtdetr_r50': {
        0: (1.783, 1.7826),
        1: (3.565, 3.5652),
        2: (5.348, 5.3477),
        3: (1.783, 1.7826),
        4: (13.107, 13.1277),
        5: (0.954, 0.9587),
    },
    'anydepth_rtdetr_r101': {2: (19.608, 19.6084), 4: (29.491, 29.5219)},
    'rtdetr_r50_m': {4: (3.277, None)},
    'rtdetr_r34': {1: (3.775, None), 2: (5.662, None)},
    'rtdetr_r18': {
        0: (1.887, None),
        1: (1.887, None),
        2: (1.887, None),
        3: (1.887, None),
        4: (3.277, None),
        5: (0.954, 0.9587),
    },
}
# convolutions and attention: full, base; the known figures include 0.0005 for the expectation
# over the box bins, a 1x1 convolution there
YOLOV12 = {
    ('anydepth_yolov12n', 'orig'): ((3.748, 0.737), (2.993, 0.492)),
    ('anydepth_yolov12n', 'switch'): ((3.748, 0.737), (3.190, 0.492)),
    ('anydepth_yolov12s', 'orig'): ((11.117, 1.638), (8.123, 0.819)),
    ('anydepth_yolov12s', 'switch'): ((11.117, 1.638), (8.830, 0.819)),
    ('anydepth_yolov12l', 'orig'): ((41.196, 3.277), (29.374, 1.638)),
    ('anydepth_yolov12l', 'switch'): ((41.196, 3.277), (30.738, 1.638)),
    ('anydepth_yolov12x', 'orig'): ((92.294, 4.915), (65.734, 2.458)),
    ('anydepth_yolov12x', 'switch'): ((92.294, 4.915), (68.801, 2.458)),
    ('yolov12n', 'orig'): ((2.993, 0.492), (2.631, 0.246)),
    ('yolov12s', 'orig'): ((9.714, 0.983), (8.283, 0.492)),
    ('yolov12m', 'orig'): ((29.899, 1.638), (25.036, 0.819)),
}


@cache
def shapes_of(name, variant=None):
    with torch.device('meta'):
        return build_detector(name, variant)


@cache
def counts(name, depth, variant=None):
    detector = shapes_of(name, variant)
    return count_multiply_adds(detector, depth, SIZE)


def without(space, *left_out, layers=None):
    flags = tuple(index not in left_out for index in range(len(space.stages)))
    return DepthConfig(flags, layers or space.decoder_layers)


@pytest.mark.parametrize('name', PLAIN)
def test_plain_figures_of_rtdetr(name):
    found = [counts(name, depth)['plain'] / 1e9 for depth in ('full', BASE_ALL, 'base')]
    assert found == pytest.approx(PLAIN[name], rel=1e-4)


@pytest.mark.parametrize(('name', 'depth'), PUBLISHED)
def test_published_figures_of_rtdetr(name, depth):
    found = counts(name, depth)['published'] / 1e9
    assert found == pytest.approx(PUBLISHED[name, depth], rel=2e-5)


def test_decoder_layers_beyond_the_evaluated_ones_count():
    assert counts('rtdetr_r50_m', '1111-1d6')['plain'] / 1e9 == pytest.approx(53.161, rel=1e-4)


@pytest.mark.parametrize('name', SAVINGS)
def test_each_refinement_and_decoder_layer_saves_what_is_known(name):
    space, full = shapes_of(name).depth_space, counts(name, 'full')
    for stage, figures in SAVINGS[name].items():
        layers = space.decoder_layers - (stage == 5)
        left = counts(name, without(space, stage, layers=layers))
        for rule, figure in zip(('plain', 'published'), figures):
            if figure is not None:
                assert (full[rule] - left[rule]) / 1e9 == pytest.approx(figure, abs=0.6e-3)


@pytest.mark.parametrize('rule', ['plain', 'published'])
@pytest.mark.parametrize(
    ('name', 'mixed', 'layers'),
    [
        ('anydepth_rtdetr_r50', (0, 2, 4), 3),
        ('anydepth_yolov12n', (0, 2, 3, 6), None),
    ],
)
def test_savings_add_up(name, mixed, layers, rule):
    space, full = shapes_of(name).depth_space, counts(name, 'full')[rule]
    alone = [without(space, stage) for stage in mixed]
    if layers is not None:
        alone.append(without(space, layers=layers))
    saved = sum(full - counts(name, depth)[rule] for depth in alone)
    assert counts(name, without(space, *mixed, layers=layers))[rule] == full - saved


@pytest.mark.parametrize(('name', 'variant'), YOLOV12)
def test_figures_of_yolov12(name, variant):
    for depth, (conv, attention) in zip(('full', 'base'), YOLOV12[name, variant]):
        found = counts(name, depth, variant)
        assert found['conv'] / 1e9 == pytest.approx(conv, abs=1.1e-3)
        assert found['matmul'] / 1e9 == pytest.approx(attention, abs=0.6e-3)
        assert found['plain'] == found['conv'] + found['matmul']


# from the published logs: full, base
MODULES = {
    'anydepth_rtdetr_r50': {
        'backbone': (33.364, 20.886),
        'backbone.stages.0': (5.453, 3.670),
        'backbone.stages.1': (8.389, 4.823),
        'backbone.stages.2': (11.954, 6.606),
        'backbone.stages.3': (6.606, 4.823),
        'neck': (25.508, 12.380),
        'neck.top_down': (17.859, 7.356),
        'neck.bottom_up': (4.465, 1.839),
        'decoder': (8.156, 6.239),
    },
}


@pytest.mark.parametrize('name', MODULES)
def test_figures_of_the_modules(name):
    full, base = (by_module(name, depth, MODULES[name]) for depth in ('full', 'base'))
    for path, figures in MODULES[name].items():
        assert (full[path], base[path]) == pytest.approx(figures, abs=0.6e-3), path


def by_module(name, depth, paths):
    """Billions by the published rule of each module; of a list, all that is in it."""
    with torch.device('meta'):
        detector = build_detector(name).eval()
    counter, spent = MultiplyAddCounter(), Counter()

    def add(path, sign, *_):
        spent[path] += sign * counter.totals()['published'] / 1e9

    for path in (*paths, 'decoder.input_proj'):
        module = detector.get_submodule(path)
        for part in module if type(module) is nn.ModuleList else [module]:
            part.register_forward_pre_hook(partial(add, path, -1))
            part.register_forward_hook(partial(add, path, 1))
    with torch.no_grad(), counter:
        detector(torch.empty(1, 3, *SIZE, device='meta'), depth)
    spent['decoder'] += spent['decoder.input_proj']  # runs between neck and decoder
    return spent


@pytest.mark.parametrize(
    ('name', 'depth'), [('rtdetr_r18', 'base'), ('anydepth_yolov12n', '1010-0101')]
)
def test_another_counter_agrees(name, depth):
    with FlopCounterMode(display=False) as other, torch.no_grad():
        shapes_of(name).eval()(torch.empty(1, 3, 320, 320, device='meta'), depth)
    found = count_multiply_adds(shapes_of(name), depth, (320, 320))['plain']
    assert other.get_total_flops() == 2 * found


def test_a_detector_with_values_counts_the_same_and_stays_as_it_is():
    detector = tiny_rtdetr(frozen=True).train()
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    with torch.device('meta'):
        shapes = tiny_rtdetr(frozen=True)
    found, expected = (count_multiply_adds(d, '0101-0', (64, 96)) for d in (detector, shapes))
    assert found == expected
    assert count_parameters(detector, '0101-0') == count_parameters(shapes, '0101-0')
    after = detector.state_dict()
    assert detector.training and all(torch.equal(before[key], after[key]) for key in before)


def test_frozen_norms_count_as_none():
    trained, frozen = (
        count_multiply_adds(tiny_rtdetr(frozen=frozen), 'full', (64, 64)) for frozen in (0, 1)
    )
    assert trained['plain'] == frozen['plain']
    assert trained['batch_norm'] > frozen['batch_norm'] > 0  # those of the neck are never frozen


def test_the_parts_add_up():
    x = torch.empty(2, 4, 6, 5, device='meta')
    with MultiplyAddCounter() as counter:
        nn.Conv2d(4, 6, 3, 2, groups=2, device='meta')(x)
        nn.Linear(5, 7, device='meta')(x)
        x @ x.transpose(-2, -1)
        nn.BatchNorm2d(4, device='meta').eval()(x)
        nn.LayerNorm(5, device='meta')(x)
        nn.functional.interpolate(x, scale_factor=2)
        nn.functional.grid_sample(x, torch.empty(2, 3, 1, 2, device='meta'), align_corners=False)
    assert counter.totals() == {
        'conv': 2 * 6 * 2 * 2 * (2 * 9),
        'linear': 2 * 4 * 6 * 5 * 7,
        'matmul': 2 * 4 * 6 * 6 * 5,
        'batch_norm': 2 * x.numel(),
        'layer_norm': 5 * x.numel(),
        'upsampling': 4 * x.numel(),
        'sampling': 4 * 2 * 4 * 3,
        'plain': 864 + 1680 + 1440,
        'published': 864 + 1680 + 1440 + 480 + 1200 + 960 + 96,
    }


def test_a_product_without_rule_is_refused():
    x = torch.empty(2, 3, 3, device='meta')
    with pytest.raises(NotImplementedError, match='no rule counts the multiply-adds of bmm'):
        with MultiplyAddCounter():
            torch.bmm(x, x)


@pytest.mark.parametrize(
    ('depth', 'size', 'message'),
    [('1111', (64, 64), 'is not legal'), ('full', (64, 65), 'multiples of 32')],
)
def test_what_cannot_run_is_refused(depth, size, message):
    with pytest.raises(ValueError, match=message):
        count_multiply_adds(tiny_rtdetr(), depth, size)

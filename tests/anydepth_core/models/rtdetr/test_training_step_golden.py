"""One training step of the published any-depth R50: losses, gradients and running statistics."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import convert_state_dict
from anydepth_core.models.rtdetr.objective import PRESETS, RtDetrObjective
from tests import golden
from tests.anydepth_core.models.rtdetr.loss_pack import PACK, targets_of

STEP = PACK.meta['step']
LIMIT = 1e-8
WEIGHTS = Path(__file__).parents[3] / 'data' / 'golden' / STEP['weights']


def detector_of(variant):
    """Return a detector with the pack's weights, and the published name of each of its keys."""
    detector = build_detector('anydepth_rtdetr_r50', variant=variant)
    state = golden.state_dict(golden.load(WEIGHTS))
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    detector.load_state_dict(convert_state_dict(tensors, detector))
    # a conversion of numbers instead of weights tells where every key comes from
    numbers = {
        key: torch.full(value.shape, float(number))
        for number, (key, value) in enumerate(tensors.items())
    }
    converted = convert_state_dict(numbers, detector)
    published = list(tensors)
    names = {key: published[int(value.flatten()[0])] for key, value in converted.items()}
    return detector.double().train(), names


def gradient_norms(detector, names):
    return {
        names[key]: 0.0 if parameter.grad is None else parameter.grad.norm().item()
        for key, parameter in detector.named_parameters()
        if parameter.requires_grad
    }


@lru_cache
def step(variant, noise):
    """Run both passes of one step, without an optimiser."""
    detector, names = detector_of(variant)
    objective = RtDetrObjective(PRESETS['published'], 80)
    targets = targets_of(STEP['case'], noise)
    images = torch.from_numpy(golden.image(STEP['image']['seed'], STEP['image']['shape'])).double()

    raw = detector(images, 'full', **objective.inputs(targets))
    full, teacher = objective.full(raw, targets)
    full['total'].backward()
    after_full = gradient_norms(detector, names)
    raw = detector(images, 'base', **objective.inputs(targets))
    base, distilled = objective.base(raw, teacher, targets)
    objective.base_total(base, distilled).backward()
    after_both = gradient_norms(detector, names)
    losses = [
        {name: value.item() for name, value in part.items() if name != 'total'}
        for part in (full, base | distilled)
    ]
    return losses, after_full, after_both, running_statistics(detector), names


def running_statistics(detector):
    state = detector.state_dict()
    return {key: value for key, value in state.items() if '.running_' in key}


def total_norm(norms, prefix=''):
    return np.sqrt(sum(norm**2 for name, norm in norms.items() if name.startswith(prefix)))


@pytest.mark.parametrize('noise', ['no_dn', 'dn'])
def test_losses_of_both_passes_equal_the_pack(noise):
    (full, base), *_ = step('published', noise)
    assert full == pytest.approx(STEP[noise]['super_losses'], rel=LIMIT, abs=1e-12)
    assert base == pytest.approx(STEP[noise]['base_losses'], rel=LIMIT, abs=1e-12)


@pytest.mark.parametrize('noise', ['no_dn', 'dn'])
def test_gradients_of_both_passes_equal_the_pack(noise):
    _, *norms, _, _ = step('published', noise)
    for which, mine in zip(('super', 'both'), norms):
        assert sorted(mine) == sorted(STEP['param_names'])
        for name, stored in zip(STEP['param_names'], PACK[f'grad_norm_{which}.{noise}']):
            assert mine[name] == pytest.approx(stored, rel=LIMIT, abs=1e-9), name
        assert total_norm(mine) == pytest.approx(
            STEP[noise][f'grad_norm_total_{which}'], rel=LIMIT
        )
        for group, stored in STEP[noise][f'grad_norm_groups_{which}'].items():
            assert total_norm(mine, f'{group}.') == pytest.approx(stored, rel=LIMIT)


def test_parameters_of_the_base_norms_get_no_gradient_in_the_full_pass():
    _, after_full, *_ = step('published', 'dn')
    without = {name for name, norm in after_full.items() if norm == 0}
    assert without == set(STEP['dn']['params_without_grad_super'])


def statistics(state, names, module):
    """Running mean and variance of a norm given by its published name."""
    keys = {names[key]: key for key in state}
    return [state[keys[f'{module}.{part}']].numpy() for part in ('running_mean', 'running_var')]


def test_running_statistics_equal_the_pack():
    *_, state, names = step('published', 'dn')
    parts = [each for name in STEP['bn_modules'] for each in statistics(state, names, name)]
    assert np.abs(np.concatenate(parts) - PACK['bn_after']).max() < 1e-6  # stored as float32


def test_corrected_variant_has_the_same_losses_and_gradients_and_statistics_of_its_own():
    losses, after_full, after_both, state, _ = step('corrected', 'no_dn')
    other_losses, other_full, other_both, published, _ = step('published', 'no_dn')
    for mine, other in zip(
        (*losses, after_full, after_both), (*other_losses, other_full, other_both)
    ):
        assert mine == pytest.approx(other, rel=LIMIT, abs=1e-9)
    start = running_statistics(detector_of('corrected')[0])
    for level in range(3):
        norm, base = (f'decoder.input_proj.{level}.{name}' for name in ('norm', 'norm_base'))
        for part in ('running_mean', 'running_var'):
            first = start[f'{norm}.{part}']
            assert not torch.equal(state[f'{norm}.{part}'], first)
            assert not torch.equal(state[f'{norm}.{part}'], state[f'{base}.{part}'])
            # both updates, one after the other, are what the published set received
            both = 0.9 * state[f'{norm}.{part}'] + state[f'{base}.{part}'] - 0.9 * first
            assert torch.allclose(both, published[f'{norm}.{part}'], rtol=1e-10)

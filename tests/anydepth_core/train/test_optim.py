"""Parameter groups and learning rates."""

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.train.optim import (
    build_optimizer,
    OptimizerSettings,
    set_rates,
    step_rates,
    StepRates,
)
from tests.anydepth_core.support.small_batch import small_detector


def settings_of_parameters(model, settings):
    """(learning rate, weight decay) of every trained parameter, by name."""
    optimizer = build_optimizer(model, settings)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
    }


def test_gamma_is_decayed_and_norms_and_biases_are_not():
    model = small_detector('yolov12')
    found = settings_of_parameters(model, OptimizerSettings(weight_decay=0.1))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert set(found) == set(trained)
    for name, parameter in trained.items():
        decayed = parameter.ndim > 1 or name.endswith('.gamma')
        assert found[name] == (0.01, 0.1 if decayed else 0.0), name


def test_rules_name_kinds_and_parts():
    rules = OptimizerSettings(
        name='adamw', rate=1e-4, weight_decay=0.1, no_decay=('backbone.norms', 'decoder.biases')
    )
    found = settings_of_parameters(small_detector('rtdetr'), rules)
    decay = {name: value for name, (_, value) in found.items()}
    assert decay['backbone.stages.0.essential.0.conv1.norm.bias'] == 0
    assert decay['backbone.stages.0.essential.0.conv1.norm_base.weight'] == 0
    assert decay['backbone.stages.0.essential.0.conv1.conv.weight'] == 0.1
    assert decay['neck.transformer.norm1.weight'] == decay['neck.transformer.norm1.bias'] == 0.1
    assert decay['decoder.layers.0.norm1.bias'] == decay['decoder.layers.0.linear1.bias'] == 0
    assert decay['decoder.layers.0.self_attn.in_proj_bias'] == 0
    assert (
        decay['decoder.layers.0.norm1.weight'] == decay['decoder.layers.0.linear1.weight'] == 0.1
    )


def test_backbone_keeps_its_share_of_the_rate():
    settings = OptimizerSettings(rate=1e-2, backbone_rate=1e-3, warmup_epochs=2)
    model = small_detector('rtdetr')
    optimizer = build_optimizer(model, settings)
    set_rates(optimizer, StepRates(5e-3, 0.9))
    rates = {
        id(parameter): group['lr']
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for name, parameter in model.named_parameters():
        wanted = 5e-4 if name.startswith('backbone.') else 5e-3
        assert rates[id(parameter)] == pytest.approx(wanted), name


def test_frozen_parameters_are_left_out():
    with torch.device('meta'):
        model = build_detector('rtdetr_r50', num_classes=3)
    found = settings_of_parameters(model, OptimizerSettings())
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen and not any(name in found for name in frozen)
    assert len(found) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'no_decay': ('norm',)}, r"optimizer.no_decay has 'norm'; allowed: norms, biases"),
        ({'no_decay': ('a.b.norms',)}, r"optimizer.no_decay has 'a.b.norms'"),
        ({'backbone_rate': 0.0}, r'optimizer.backbone_rate is 0.0; more than 0'),
        ({'rate': float('nan')}, r'optimizer.rate is nan; more than 0'),
    ],
)
def test_wrong_setting_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        OptimizerSettings(**changes)


def test_rule_for_a_part_that_the_detector_lacks_is_refused():
    with pytest.raises(ValueError, match="'decoder.norms', but the parts .* backbone, neck, head"):
        build_optimizer(small_detector('yolov12'), OptimizerSettings(no_decay=('decoder.norms',)))


@pytest.mark.parametrize(
    ('schedule', 'middle'), [('linear', 0.0505), ('cosine', 0.0505), ('constant', 0.1)]
)
def test_schedules_warm_up_and_fall(schedule, middle):
    settings = OptimizerSettings(rate=0.1, final_factor=0.01, schedule=schedule, warmup_epochs=2)
    assert step_rates(settings, 0, 10) == StepRates(0.0, 0.8)
    assert step_rates(settings, 5, 10).rate == pytest.approx(middle)
    last = 0.1 if schedule == 'constant' else 0.001
    assert step_rates(settings, 10, 10) == StepRates(pytest.approx(last), 0.937)

"""One training step: what it changes, in which precision, and what it refuses."""

import copy

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.data.loader import Batch
from anydepth_core.train.distill import DistillationSettings
from anydepth_core.train.ema import Ema
from anydepth_core.train.optim import build_optimizer, OptimizerSettings, step_rates, StepRates
from anydepth_core.train.settings import LossSettings
from anydepth_core.train.step import any_depth_step, StepSettings


def detector():
    torch.manual_seed(0)
    return build_detector('anydepth_yolov12n', num_classes=3).train()


def batch(targets=2):
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(2, 3, 64, 96, generator=generator) * 255).byte()
    index = torch.tensor([0, 1])[:targets]
    boxes = torch.tensor([[8.0, 8, 40, 56], [30, 10, 90, 50]])[:targets]
    return Batch(pixels, index, torch.tensor([2, 0])[:targets], boxes)


def sgd(model, rate=1e-3):
    return build_optimizer(model, OptimizerSettings(rate=rate, momentum=0.0, weight_decay=0.0))


@pytest.mark.parametrize('precision', [None, torch.bfloat16])
def test_step_lowers_both_losses_on_one_batch(precision):
    model = detector()
    optimizer = build_optimizer(model, OptimizerSettings(name='adamw', rate=1e-3))
    settings = StepSettings(autocast=precision)
    losses = [any_depth_step(model, batch(), optimizer, settings) for _ in range(12)]
    assert losses[-1].full['total'] < 0.8 * losses[0].full['total']
    assert losses[-1].base['total'] < 0.8 * losses[0].base['total']
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_gradient_is_the_sum_of_both_passes():
    settings = StepSettings(clip_norm=1e9)
    model = detector()
    start = copy.deepcopy(model.state_dict())
    any_depth_step(model, batch(), sgd(model, 1.0), settings)
    moved = {n: start[n] - p.detach() for n, p in model.named_parameters()}

    only_full = detector()
    silent = DistillationSettings(box=0, cls=0, dfl=0, feat=0)
    alone = StepSettings(LossSettings(alpha_base=0.0, distillation=silent), clip_norm=1e9)
    any_depth_step(only_full, batch(), sgd(only_full, 1.0), alone)
    full = {n: start[n] - p.detach() for n, p in only_full.named_parameters()}
    refinement = [n for n in moved if '.refinement.' in n]
    assert all(torch.equal(moved[n], full[n]) for n in refinement)
    assert all(torch.count_nonzero(full[n]) == 0 for n in moved if 'norm_base' in n)
    assert all(torch.count_nonzero(moved[n]) > 0 for n in moved if n.endswith('norm_base.weight'))


def test_batch_without_any_target_trains():
    model = detector()
    losses = any_depth_step(model, batch(0), sgd(model), StepSettings())
    assert losses.full['box'] == losses.base['dfl'] == losses.distillation['box'] == 0
    assert losses.full['cls'] > 0


@pytest.mark.parametrize(
    ('spoilt', 'named'), [('refinement.0', 'full pass'), ('norm_base', 'base pass')]
)
def test_loss_that_is_not_finite_names_the_pass_and_changes_no_weight(spoilt, named):
    model = detector()
    victim = next(p for n, p in model.named_parameters() if spoilt in n)
    with torch.no_grad():
        victim.fill_(float('nan'))
    before = {k: v.clone() for k, v in dict(model.named_parameters()).items()}
    ema = Ema(model)
    with pytest.raises(FloatingPointError, match=f'the {named} gave a loss that is not finite'):
        any_depth_step(model, batch(), sgd(model), StepSettings(), ema=ema)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if p is not victim)
    assert ema.updates == 0


def test_step_updates_the_average_once():
    model = detector()
    ema = Ema(model, decay=0.5, ramp=1e-9)
    before = copy.deepcopy(dict(ema.module.named_parameters()))
    any_depth_step(model, batch(), sgd(model), StepSettings(), ema=ema)
    assert ema.updates == 1
    for name, parameter in model.named_parameters():
        expected = (before[name] + parameter) / 2
        assert torch.allclose(ema.module.get_parameter(name), expected, atol=1e-6)


def test_gamma_is_decayed_and_norms_and_biases_are_not():
    model = detector()
    optimizer = build_optimizer(model, OptimizerSettings(weight_decay=0.1))
    decayed = {id(p) for p in optimizer.param_groups[0]['params']}
    for name, parameter in model.named_parameters():
        wanted = parameter.requires_grad and (parameter.ndim > 1 or name.endswith('.gamma'))
        assert (id(parameter) in decayed) == wanted
    assert [group['weight_decay'] for group in optimizer.param_groups] == [0.1, 0.0, 0.0]


@pytest.mark.parametrize(
    ('schedule', 'middle'), [('linear', 0.0505), ('cosine', 0.0505), ('constant', 0.1)]
)
def test_schedules_warm_up_and_fall(schedule, middle):
    settings = OptimizerSettings(rate=0.1, final_factor=0.01, schedule=schedule, warmup_epochs=2)
    assert step_rates(settings, 0, 10) == StepRates(0.0, 0.8)
    assert step_rates(settings, 5, 10).rate == pytest.approx(middle)
    last = 0.1 if schedule == 'constant' else 0.001
    assert step_rates(settings, 10, 10) == StepRates(pytest.approx(last), 0.937)

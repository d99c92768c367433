"""One training step: what it changes, in which precision, and what it refuses."""

import copy

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.models.rtdetr.denoising import DenoisingSettings
from anydepth_core.models.rtdetr.objective import DetrLossSettings
from anydepth_core.models.rtdetr.objective import PRESETS as DETR_PRESETS
from anydepth_core.models.yolov12.objective import LossSettings
from anydepth_core.train.ema import Ema
from anydepth_core.train.families import build_objective
from anydepth_core.train.optim import build_optimizer, OptimizerSettings
from anydepth_core.train.step import any_depth_step, StepSettings
from anydepth_core.train.views import resize_batch
from tests.anydepth_core.support.small_batch import (
    FAMILIES,
    freeze_statistics,
    one_image,
    small_batch,
    small_detector,
)

UNLIMITED = StepSettings(clip_norm=1e9)


def objective(family, settings=None):
    return build_objective(family, settings, 3)


def sgd(model, rate=1e-3):
    return build_optimizer(model, OptimizerSettings(rate=rate, momentum=0.0, weight_decay=0.0))


def gradients(model, batch, goal, **further):
    any_depth_step(model, batch, sgd(model), goal, UNLIMITED, **further)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('precision', [None, torch.bfloat16])
@pytest.mark.parametrize('family', FAMILIES)
def test_step_lowers_both_losses_on_one_batch(family, precision):
    model, goal = small_detector(family), objective(family)
    rate = {'yolov12': 1e-3, 'rtdetr': 1e-2}[family]
    optimizer = build_optimizer(model, OptimizerSettings(name='adamw', rate=rate))
    settings = StepSettings(autocast=precision)
    losses = [any_depth_step(model, small_batch(), optimizer, goal, settings) for _ in range(12)]
    assert losses[-1].full['total'] < 0.8 * losses[0].full['total']
    assert losses[-1].base['total'] < 0.8 * losses[0].base['total']
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.slow
def test_rtdetr_r18_learns_one_batch():
    torch.manual_seed(0)
    model = build_detector('rtdetr_r18', num_classes=3).train()
    optimizer = build_optimizer(model, OptimizerSettings(name='adamw', rate=1e-3, momentum=0.9))
    goal, settings = objective('rtdetr'), StepSettings(clip_norm=0.1)
    losses = [any_depth_step(model, small_batch(), optimizer, goal, settings) for _ in range(7)]
    assert losses[-1].full['total'] < 0.85 * losses[0].full['total']
    assert losses[-1].base['total'] < 0.85 * losses[0].base['total']


@pytest.mark.parametrize('family', FAMILIES)
def test_base_pass_gives_no_gradient_to_refinements(family):
    both = gradients(small_detector(family), small_batch(), objective(family))
    full_only = small_detector(family)
    goal = objective(family)
    targets = goal.prepare(small_batch())
    images = small_batch().images.contiguous(memory_format=torch.channels_last) / 255
    losses, _ = goal.full(full_only(images, 'full', **goal.inputs(targets)), targets)
    losses['total'].backward()
    alone = {n: p.grad for n, p in full_only.named_parameters() if p.grad is not None}
    refinements = [name for name in both if '.refinement.' in name]
    assert refinements and all(torch.equal(both[name], alone[name]) for name in refinements)
    own = [name for name in both if 'norm_base' in name]
    assert own and not any(name in alone for name in own)
    assert all(both[name].count_nonzero() > 0 for name in own)


@pytest.mark.parametrize('family', FAMILIES)
def test_gradient_does_not_depend_on_how_often_an_image_is_given(family):
    # one image alone runs through other kernels than several
    settings = {'rtdetr': DetrLossSettings(denoising=DenoisingSettings(queries=0))}.get(family)
    image = one_image(small_batch(), 1)
    twice = copy.deepcopy(image)
    twice.images = twice.images.repeat(2, 1, 1, 1)
    twice.image_index = torch.tensor([0, 0, 1, 1])
    twice.labels, twice.boxes_xyxy_px = twice.labels.repeat(2), twice.boxes_xyxy_px.repeat(2, 1)
    single, double = (
        gradients(
            freeze_statistics(small_detector(family)).double(), batch, objective(family, settings)
        )
        for batch in (image, twice)
    )
    # YOLO's losses grow with the number of images
    factor = 2 if family == 'yolov12' else 1
    for name, gradient in single.items():
        limit = 1e-9 * float(gradient.abs().max())
        assert float((double[name] - factor * gradient).abs().max()) <= limit, name


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('targets', [0, 1])
def test_images_without_any_target_train(family, targets):
    model = small_detector(family)
    losses = any_depth_step(model, small_batch(targets), sgd(model), objective(family), UNLIMITED)
    numbers = [*losses.full.values(), *losses.base.values(), *losses.distillation.values()]
    assert all(number == number for number in numbers)
    assert losses.full['cls' if family == 'yolov12' else 'loss_vfl'] > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ('spoilt', 'named'), [('refinement.0', 'full pass'), ('norm_base', 'base pass')]
)
@pytest.mark.parametrize('targets', [0, 3])
@pytest.mark.parametrize('family', FAMILIES)
def test_loss_that_is_not_finite_names_the_pass_and_changes_no_weight(
    family, targets, spoilt, named
):
    model = small_detector(family)
    victim = next(p for n, p in model.named_parameters() if spoilt in n)
    with torch.no_grad():
        victim.fill_(float('nan'))
    before = {k: v.clone() for k, v in dict(model.named_parameters()).items()}
    ema = Ema(model)
    with pytest.raises(FloatingPointError, match=f'the {named} gave a loss that is not finite'):
        any_depth_step(
            model, small_batch(targets), sgd(model), objective(family), UNLIMITED, ema=ema
        )
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if p is not victim)
    assert ema.updates == 0


@pytest.mark.parametrize('family', FAMILIES)
def test_gradient_that_is_not_finite_changes_no_weight(family):
    model, goal = small_detector(family), objective(family)
    # finite, but with an infinite slope
    goal.base_total = lambda losses, _: (losses['total'] - losses['total'].detach()).sqrt()
    before = {name: value.clone() for name, value in model.named_parameters()}
    ema = Ema(model)
    with pytest.raises(FloatingPointError, match='the gradient is not finite; no weight was'):
        any_depth_step(model, small_batch(), sgd(model), goal, UNLIMITED, ema=ema)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert ema.updates == 0


@pytest.mark.parametrize('family', FAMILIES)
def test_step_updates_the_average_once(family):
    model = small_detector(family)
    ema = Ema(model, decay=0.5, ramp=1e-9)
    before = copy.deepcopy(ema.module.state_dict())
    any_depth_step(model, small_batch(), sgd(model), objective(family), UNLIMITED, ema=ema)
    assert ema.updates == 1
    after = model.state_dict()
    for name, average in ema.module.state_dict().items():
        if average.is_floating_point():
            assert torch.allclose(average, (before[name] + after[name]) / 2, atol=1e-6), name
        else:
            assert torch.equal(average, after[name]), name


def test_published_base_pass_has_a_view_of_its_own():
    goal = objective('rtdetr', DETR_PRESETS['published'])
    drawn = []
    prepare = goal.prepare
    goal.prepare = lambda batch: drawn.append(prepare(batch)) or drawn[-1]
    sizes = []
    model = small_detector('rtdetr', 'published')
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    other = resize_batch(small_batch(), (96, 96))
    any_depth_step(model, small_batch(), sgd(model), goal, UNLIMITED, base_batch=other)
    assert sizes == [(64, 96), (96, 96)]
    assert not torch.equal(drawn[0].denoising.boxes_logit, drawn[1].denoising.boxes_logit)


def test_both_passes_have_the_same_view_by_default():
    goal = objective('rtdetr')
    drawn = []
    prepare = goal.prepare
    goal.prepare = lambda batch: drawn.append(prepare(batch)) or drawn[-1]
    model = small_detector('rtdetr')
    any_depth_step(model, small_batch(), sgd(model), goal, UNLIMITED)
    assert len(drawn) == 1


def test_settings_of_another_family_are_refused():
    with pytest.raises(ValueError, match='rtdetr are set by DetrLossSettings, not LossSettings'):
        objective('rtdetr', LossSettings())

"""One training step: what it changes, in which precision, and what it refuses."""

import copy
import re

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint.io import read_tensors, save_tensors
from anydepth_core.models.rtdetr.denoising import DenoisingSettings
from anydepth_core.models.rtdetr.objective import DetrLossSettings, RtDetrObjective
from anydepth_core.models.rtdetr.objective import PRESETS as DETR_PRESETS
from anydepth_core.models.yolov12.objective import LossSettings, Yolov12Objective
from anydepth_core.nn.norm import share_norms
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
    any_depth_step(model, [(batch, None)], sgd(model), goal, UNLIMITED, **further)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('precision', [None, torch.bfloat16])
@pytest.mark.parametrize('family', FAMILIES)
def test_step_lowers_both_losses_on_one_batch(family, precision):
    model, goal = small_detector(family), objective(family)
    rate = {'yolov12': 1e-3, 'rtdetr': 1e-2}[family]
    optimizer = build_optimizer(model, OptimizerSettings(name='adamw', rate=rate))
    settings = StepSettings(autocast=precision)
    losses = [
        any_depth_step(model, [(small_batch(), None)], optimizer, goal, settings)
        for _ in range(12)
    ]
    assert losses[-1].full['total'] < 0.8 * losses[0].full['total']
    assert losses[-1].base['total'] < 0.8 * losses[0].base['total']
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.slow
def test_rtdetr_r18_learns_one_batch():
    torch.manual_seed(0)
    model = build_detector('rtdetr_r18', num_classes=3).train()
    optimizer = build_optimizer(model, OptimizerSettings(name='adamw', rate=1e-3, momentum=0.9))
    goal, settings = objective('rtdetr'), StepSettings(clip_norm=0.1)
    losses = [
        any_depth_step(model, [(small_batch(), None)], optimizer, goal, settings) for _ in range(7)
    ]
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
    losses = any_depth_step(
        model, [(small_batch(targets), None)], sgd(model), objective(family), UNLIMITED
    )
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
            model,
            [(small_batch(targets), None)],
            sgd(model),
            objective(family),
            UNLIMITED,
            ema=ema,
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
        any_depth_step(model, [(small_batch(), None)], sgd(model), goal, UNLIMITED, ema=ema)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert ema.updates == 0


@pytest.mark.parametrize('family', FAMILIES)
def test_step_updates_the_average_once(family):
    model = small_detector(family)
    ema = Ema(model, decay=0.5, ramp=1e-9)
    before = copy.deepcopy(ema.module.state_dict())
    any_depth_step(
        model, [(small_batch(), None)], sgd(model), objective(family), UNLIMITED, ema=ema
    )
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
    any_depth_step(model, [(small_batch(), other)], sgd(model), goal, UNLIMITED)
    assert sizes == [(64, 96), (96, 96)]
    assert not torch.equal(drawn[0].denoising.boxes_logit, drawn[1].denoising.boxes_logit)


def test_both_passes_have_the_same_view_by_default():
    goal = objective('rtdetr')
    drawn = []
    prepare = goal.prepare
    goal.prepare = lambda batch: drawn.append(prepare(batch)) or drawn[-1]
    model = small_detector('rtdetr')
    any_depth_step(model, [(small_batch(), None)], sgd(model), goal, UNLIMITED)
    assert len(drawn) == 1


def test_settings_of_another_family_are_refused():
    with pytest.raises(ValueError, match='rtdetr are set by DetrLossSettings, not LossSettings'):
        objective('rtdetr', LossSettings())


def with_divisor(family, divisor):
    """Objective that divides every sum by the same number, and has no denoising queries."""
    normaliser = lambda number: number * 0 + divisor  # noqa: E731
    if family == 'yolov12':
        return Yolov12Objective(LossSettings(), normaliser)
    settings = DetrLossSettings(denoising=DenoisingSettings(queries=0))
    return RtDetrObjective(settings, 3, normaliser=normaliser)


@pytest.mark.parametrize('family', FAMILIES)
def test_batches_that_add_up_give_the_gradient_of_the_joint_batch(family):
    def frozen():
        return freeze_statistics(small_detector(family)).double()

    apart = [(one_image(small_batch(), image), None) for image in range(2)]
    one, two = frozen(), frozen()
    joint = any_depth_step(
        one, [(small_batch(), None)], sgd(one), with_divisor(family, 4), UNLIMITED
    )
    added = any_depth_step(two, apart, sgd(two), with_divisor(family, 2), UNLIMITED)
    both = dict(two.named_parameters())
    for name, parameter in one.named_parameters():
        if parameter.grad is not None:
            limit = 1e-9 * float(parameter.grad.abs().max())
            assert float((parameter.grad - both[name].grad).abs().max()) <= limit, name
    assert added.full['total'] == pytest.approx(joint.full['total'])
    assert added.distillation['total'] == pytest.approx(joint.distillation['total'])


@pytest.mark.parametrize('family', FAMILIES)
def test_batches_that_add_up_are_one_step_of_optimiser_and_average(family):
    model = small_detector(family)
    ema, optimizer = Ema(model), sgd(model)
    taken = []
    optimizer.register_step_post_hook(lambda *_: taken.append(1))
    batches = [(small_batch(targets), None) for targets in (0, 1, 3)]
    any_depth_step(model, batches, optimizer, objective(family), UNLIMITED, ema=ema)
    assert (len(taken), ema.updates) == (1, 1)


@pytest.mark.parametrize('depth', ['full', 'base'])
@pytest.mark.parametrize('family', FAMILIES)
def test_one_pass_alone_learns_the_ground_truth_alone(family, depth):
    model, goal = small_detector(family), objective(family)
    settings = StepSettings(clip_norm=1e9, passes=depth)
    losses = any_depth_step(model, [(small_batch(), None)], sgd(model), goal, settings)
    ran = {name for name, part in vars(losses).items() if part}
    assert ran == {depth}
    other, goal = small_detector(family), objective(family)
    targets = goal.prepare(small_batch())
    images = small_batch().images.contiguous(memory_format=torch.channels_last) / 255
    terms, _ = goal.full(other(images, depth, **goal.inputs(targets)), targets)
    terms['total'].backward()
    alone = {name: parameter.grad for name, parameter in other.named_parameters()}
    for name, parameter in model.named_parameters():
        if alone[name] is None:
            assert parameter.grad is None, name
        else:
            assert torch.equal(parameter.grad, alone[name]), name
    trained = {'full': '.refinement.', 'base': 'norm_base'}[depth]
    missed = {'base': '.refinement.', 'full': 'norm_base'}[depth]
    assert any(trained in name and p.grad is not None for name, p in model.named_parameters())
    assert all(p.grad is None for name, p in model.named_parameters() if missed in name)


@pytest.mark.parametrize(
    ('family', 'depth'), [('yolov12', '0110-1010'), ('rtdetr', '0110-1'), ('rtdetr', '1001-0')]
)
def test_depth_in_between_trains_the_norms_and_refinements_of_its_bits(family, depth):
    model = small_detector(family)
    stages = dict(model.switched_modules())
    bits = model.depth_space.parse(depth).stages

    def trained(depth):
        copied = copy.deepcopy(model)
        before = copy.deepcopy(copied.state_dict())
        batches = [(small_batch(), None)]
        any_depth_step(
            copied, batches, sgd(copied), objective(family), UNLIMITED, base_depth=depth
        )
        return {k for k, v in copied.state_dict().items() if not torch.equal(v, before[k])}

    names = {module: name for name, module in model.named_modules()}
    found = trained(depth)
    for index, bit in enumerate(bits):
        own = [name for name in found if name.startswith(f'{names[stages[index]]}.')]
        based = [name for name in own if 'norm_base' in name]
        assert bool(based) is not bit, model.depth_space.stages[index]
    assert trained('base') > {name for name in found if 'norm_base' in name}


@pytest.mark.parametrize('targets', [0, 3])
@pytest.mark.parametrize('depth', ['full', 'base'])
@pytest.mark.parametrize('family', FAMILIES)
def test_pass_trains_the_same_weights_whatever_its_images_show(family, depth, targets):
    # of several processes each waits for every gradient that another has
    def trained(batch):
        model = small_detector(family)
        settings = StepSettings(clip_norm=1e9, passes=depth)
        any_depth_step(model, [(batch, None)], sgd(model), objective(family), settings)
        return {name for name, p in model.named_parameters() if p.grad is not None}

    assert trained(small_batch(targets)) == trained(small_batch(1))


@pytest.mark.parametrize('family', FAMILIES)
def test_shared_norms_stay_equal_and_become_an_ordinary_checkpoint(family, tmp_path):
    model = small_detector(family)
    share_norms(model)
    ema = Ema(model, decay=0.5, ramp=1e-9)
    before = copy.deepcopy(ema.module.state_dict())
    optimizer = build_optimizer(model, OptimizerSettings(rate=0.1))
    for _ in range(2):
        any_depth_step(
            model, [(small_batch(), None)], optimizer, objective(family), StepSettings(), ema=ema
        )
        if ema.updates == 1:
            now = model.state_dict()
            for name, value in ema.module.state_dict().items():
                if value.is_floating_point():
                    mean = (before[name] + now[name]) / 2
                    assert torch.allclose(value, mean, atol=1e-6), name
    stored = tmp_path / 'model.safetensors'
    save_tensors(stored, ema.module.state_dict(), {'format': 'anydepth-checkpoint-1'})
    tensors, _ = read_tensors(stored)
    pairs = [
        (name, name.replace('_base.', '.'))
        for name in tensors
        if re.search(r'norm\d?_base\.', name)
    ]
    assert pairs and all(torch.equal(tensors[base], tensors[full]) for base, full in pairs)
    counted = [n for n in tensors if n.endswith('norm.num_batches_tracked') and 'neck' in n]
    assert {int(tensors[name]) for name in counted} >= {4}
    ordinary = small_detector(family).eval()
    ordinary.load_state_dict(tensors)
    images = small_batch().images / 255
    for depth in ('full', 'base'):
        assert torch.equal(ordinary(images, depth).decoded, ema.module(images, depth).decoded), (
            depth
        )

"""All terms of both passes."""

from dataclasses import replace
import math

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
import numpy as np
import pytest
import torch

from anydepth_core.config import from_mapping, to_mapping
from anydepth_core.data.loader import Batch
from anydepth_core.models.rtdetr.objective import (
    DetrLossSettings,
    ground_truth,
    PRESETS,
    RtDetrObjective,
)
from anydepth_core.models.rtdetr.predictions import DetrPredictions, LayerPredictions
from tests.anydepth_core.models.rtdetr.loss_pack import (
    first_image,
    LIMITS,
    PACK,
    raw_of,
    RUNS,
    targets_of,
)


def both_passes(preset, case, noise, dtype=torch.float64):
    objective = RtDetrObjective(PRESETS[preset], 80)
    targets = targets_of(case, noise, dtype)
    full_raw, base_raw = raw_of('super', noise, dtype), raw_of('base', noise, dtype)
    full, teacher = objective.full(full_raw, targets)
    base, distilled = objective.base(base_raw, teacher, targets)
    return objective, full, base, distilled, (full_raw, base_raw)


def numbers(losses):
    return {name: value.item() for name, value in losses.items() if name != 'total'}


def leaves(raw):
    layers = [*raw.layers, raw.proposals, *raw.denoising]
    return [tensor for layer in layers for tensor in (layer.logits, layer.boxes)]


@pytest.mark.parametrize('dtype', list(LIMITS))
@pytest.mark.parametrize(('case', 'noise'), RUNS)
def test_published_terms_equal_the_pack(case, noise, dtype):
    objective, full, base, distilled, _ = both_passes('published', case, noise, dtype)
    stored, limit = PACK.meta['cases'][case]['runs'][noise], LIMITS[dtype]
    assert numbers(full) == pytest.approx(stored['super_losses'], rel=limit, abs=1e-14)
    mine = numbers(base) | numbers(distilled)
    assert mine == pytest.approx(stored['base_losses'], rel=limit, abs=1e-14)
    assert full['total'].item() == pytest.approx(stored['super_total'], rel=limit)
    total = objective.base_total(base, distilled)
    assert total.item() == pytest.approx(stored['base_total'], rel=limit)


@pytest.mark.parametrize('over_channels', [False, True])
def test_features_of_one_image_equal_the_pack_only_if_asked(over_channels):
    published = PRESETS['published']
    distillation = replace(published.distillation, batch1_over_channels=over_channels)
    objective = RtDetrObjective(replace(published, distillation=distillation), 80)
    targets = objective.prepare(batch_of([[]]))
    _, teacher = objective.full(first_image(raw_of('super', 'no_dn')), targets)
    _, distilled = objective.base(first_image(raw_of('base', 'no_dn')), teacher, targets)
    for part, channels in (('backbone', 3584), ('encoder', 768)):
        name = f'loss_features_{part}_kd'
        stored = PACK.meta['batch1_image0_features_kd'][name]
        factor = 1 if over_channels else channels
        assert distilled[name].item() == pytest.approx(stored * factor, rel=1e-10)


@pytest.mark.parametrize(('case', 'noise'), RUNS)
def test_corrected_differs_by_the_class_terms_of_the_last_layer_only(case, noise):
    _, full, base, distilled, _ = both_passes('corrected', case, noise)
    stored = PACK.meta['cases'][case]['runs'][noise]
    assert numbers(full) == pytest.approx(stored['super_losses'], rel=1e-10, abs=1e-14)
    mine = numbers(base) | numbers(distilled)
    assert mine.pop('loss_vfl') > 0
    mine.pop('loss_vfl_kd')
    rest = {name: value for name, value in stored['base_losses'].items() if name in mine}
    assert len(rest) == len(stored['base_losses']) - 1
    assert mine == pytest.approx(rest, rel=1e-10, abs=1e-14)


def test_last_base_layer_gets_a_background_signal_only_when_corrected():
    def gradient_of_unmatched(preset):
        *_, base, distilled, (_, base_raw) = both_passes(preset, 'gt3_2', 'no_dn')
        last = base_raw.layers[-1].logits
        (gradient,) = torch.autograd.grad(base['total'] + distilled['total'], last)
        unmatched = torch.ones(gradient.shape[:2], dtype=torch.bool)
        for image, (queries, _) in enumerate(PACK.meta['cases']['gt3_2']['match']['base'][0]):
            unmatched[image, queries] = False
        return gradient[unmatched]

    assert gradient_of_unmatched('published').abs().max() == 0
    assert (gradient_of_unmatched('corrected') > 0).all()


@pytest.mark.parametrize('weight', [1.0, 0.25])
def test_last_base_layer_learns_classes_as_the_last_full_layer_does(weight):
    objective = RtDetrObjective(replace(DetrLossSettings(), base_vfl=weight), 80)
    targets, raw = targets_of('gt3_2', 'no_dn'), raw_of('super', 'no_dn')
    full, teacher = objective.full(raw, targets)
    base, _ = objective.base(raw, teacher, targets)
    assert base['loss_vfl'].item() == pytest.approx(weight * full['loss_vfl'].item())


@pytest.mark.parametrize('preset', list(PRESETS))
@pytest.mark.parametrize('case', ['gt3_2', 'gt0_0'])
def test_totals_depend_on_every_prediction_set_even_without_targets(preset, case):
    noise = 'dn' if case == 'gt3_2' else 'no_dn'
    objective, full, base, distilled, raws = both_passes(preset, case, noise)
    totals = full['total'], objective.base_total(base, distilled)
    for raw, total in zip(raws, totals):
        gradients = torch.autograd.grad(total, leaves(raw) + raw.stage_maps, allow_unused=True)
        missing = [gradient is None for gradient in gradients]
        # maps reach the losses of the full pass through the predictions only
        maps = len(raw.stage_maps)
        assert not any(missing[:-maps])
        assert all(missing[-maps:]) == (raw is raws[0])
        assert all(each.isfinite().all() for each in gradients if each is not None)


def test_base_pass_leaves_the_teacher_without_gradient():
    *_, base, distilled, (full_raw, _) = both_passes('corrected', 'gt3_2', 'dn')
    total = base['total'] + distilled['total']
    gradients = torch.autograd.grad(total, leaves(full_raw), allow_unused=True)
    assert all(gradient is None for gradient in gradients)


def test_base_equal_to_full_has_no_distillation_loss():
    objective = RtDetrObjective(DetrLossSettings(), 80)
    targets, raw = targets_of('gt3_2', 'no_dn'), raw_of('super', 'no_dn')
    _, teacher = objective.full(raw, targets)
    _, distilled = objective.base(raw, teacher, targets)
    assert distilled['total'].item() == pytest.approx(0, abs=1e-12)


def batch_of(boxes, side=64):
    """Batch of grey images; ``boxes`` per image: label, left, top, right, bottom in pixels."""
    rows = [(image, *box) for image, content in enumerate(boxes) for box in content]
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Batch(
        torch.full((len(boxes), 3, side, 2 * side), 128, dtype=torch.uint8),
        table[:, 0].long(),
        table[:, 1].long(),
        table[:, 2:],
    )


def predictions_for(targets, classes, queries=7, layers=2, seed=0, dtype=torch.float32):
    """Random predictions of a detector that was given the targets."""
    generator = torch.Generator().manual_seed(seed)
    images = len(targets.truth.counts)

    def layer(count):
        logits = torch.randn(images, count, classes, generator=generator, dtype=dtype)
        boxes = torch.randn(images, count, 4, generator=generator, dtype=dtype).sigmoid()
        return LayerPredictions(logits.requires_grad_(), boxes.requires_grad_())

    denoising = []
    if targets.denoising is not None:
        denoising = [layer(targets.denoising.labels.shape[1]) for _ in range(layers)]
    maps = [torch.randn(images, 3, 2, 2, generator=generator, dtype=dtype) for _ in range(6)]
    return DetrPredictions(
        [layer(queries) for _ in range(layers)],
        layer(queries),
        denoising,
        torch.zeros(images, queries, dtype=torch.int64),
        [each.requires_grad_() for each in maps],
        (64, 128),
    )


def test_boxes_are_taken_relative_to_the_network_input():
    truth = ground_truth(batch_of([[], [(3, 32, 0, 96, 64)], []]))
    assert truth.counts == (0, 1, 0)
    assert truth.labels.tolist() == [3]
    assert truth.boxes_cxcywh.tolist() == [[0.5, 0.5, 0.5, 1.0]]


def test_normaliser_counts_the_targets_and_is_at_least_one():
    asked = []

    def normaliser(number):
        asked.append(number.item())
        return number * 0 + 0.5

    objective = RtDetrObjective(DetrLossSettings(), 80, normaliser=normaliser)
    assert objective.prepare(batch_of([[(0, 0, 0, 9, 9)] * 3])).normaliser == 0.5
    assert asked == [3]
    alone = RtDetrObjective(DetrLossSettings(), 80)
    assert alone.prepare(batch_of([[(0, 0, 0, 9, 9)] * 3])).normaliser == 3
    assert alone.prepare(batch_of([[]])).normaliser == 1


def test_noise_follows_from_seed_epoch_and_step():
    def noise(seed, epoch, step=0, skipped=0):
        objective = RtDetrObjective(DetrLossSettings(), 80, seed)
        for _ in range(skipped):
            objective.prepare(batch)
        objective.set_step(epoch, step)
        return objective.prepare(batch).denoising.boxes_logit

    batch = batch_of([[(0, 8, 8, 32, 32)], []])
    assert torch.equal(noise(1, 4), noise(1, 4, skipped=3))
    assert not torch.equal(noise(1, 4), noise(1, 5))
    assert not torch.equal(noise(1, 4), noise(2, 4))
    assert not torch.equal(noise(1, 4), noise(1, 4, step=1))


def test_every_prepare_draws_new_noise():
    objective = RtDetrObjective(DetrLossSettings(), 80)
    first, second = (objective.prepare(batch_of([[(0, 8, 8, 32, 32)]])) for _ in range(2))
    assert not torch.equal(first.denoising.boxes_logit, second.denoising.boxes_logit)


def test_inputs_are_empty_without_targets():
    objective = RtDetrObjective(DetrLossSettings(), 80)
    assert objective.inputs(objective.prepare(batch_of([[], []]))) == {}
    assert set(objective.inputs(objective.prepare(batch_of([[(0, 0, 0, 9, 9)]])))) == {'denoising'}


def test_detector_called_without_its_denoising_queries_is_reported():
    objective = RtDetrObjective(DetrLossSettings(), 80)
    targets = targets_of('gt3_2', 'dn')
    with pytest.raises(ValueError, match=r'inputs\(targets\)'):
        objective.full(raw_of('super', 'no_dn'), targets)
    with pytest.raises(ValueError, match='have no denoising queries'):
        objective.full(raw_of('super', 'dn'), targets_of('gt3_2', 'no_dn'))


def test_passes_may_have_other_noise_and_another_number_of_denoising_queries():
    objective = RtDetrObjective(PRESETS['published'], 5)
    boxes = [[(0, 8, 8, 32, 32), (1, 0, 0, 5, 5)], []]
    first = objective.prepare(batch_of(boxes))
    doubled = [[(c, *(2 * x for x in box)) for c, *box in image] for image in boxes]
    second = objective.prepare(batch_of(doubled, side=128))
    assert torch.equal(first.truth.boxes_cxcywh, second.truth.boxes_cxcywh)
    _, teacher = objective.full(predictions_for(first, 5), first)
    base, distilled = objective.base(predictions_for(second, 5, seed=1), teacher, second)
    assert objective.base_total(base, distilled).isfinite()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_predictions_give_float32_losses(dtype):
    objective = RtDetrObjective(DetrLossSettings(), 5)
    targets = objective.prepare(batch_of([[(0, 8, 8, 32, 32)], []]))
    half = predictions_for(targets, 5, dtype=dtype)
    full, teacher = objective.full(half, targets)
    base, distilled = objective.base(half, teacher, targets)
    assert all(each.dtype == torch.float32 for each in (full | base | distilled).values())

    def single(layers):
        return [LayerPredictions(each.logits.float(), each.boxes.float()) for each in layers]

    exact = replace(
        half,
        layers=single(half.layers),
        proposals=single([half.proposals])[0],
        denoising=single(half.denoising),
        stage_maps=[each.float() for each in half.stage_maps],
    )
    assert numbers(objective.full(exact, targets)[0]) == numbers(full)


@pytest.mark.parametrize('part', ['logits', 'boxes'])
@pytest.mark.parametrize('where', ['last', 'proposals', 'denoising'])
def test_loss_shows_predictions_that_are_not_finite(where, part):
    objective = RtDetrObjective(DetrLossSettings(), 5)
    targets = objective.prepare(batch_of([[(0, 8, 8, 32, 32), (1, 1, 1, 3, 3)], []]))
    raw = predictions_for(targets, 5)
    layer = {'last': raw.layers[-1], 'proposals': raw.proposals, 'denoising': raw.denoising[0]}
    with torch.no_grad():
        getattr(layer[where], part)[0, 0, 1] = float('nan')
    losses, teacher = objective.full(raw, targets)
    assert not losses['total'].isfinite()
    assert not objective.base(raw, teacher, targets)[0]['total'].isfinite()


def test_presets_survive_yaml():
    for settings in PRESETS.values():
        assert from_mapping(to_mapping(settings), DetrLossSettings) == settings


pixel = st.integers(0, 63)


@st.composite
def box(draw):
    left, top = draw(pixel) * 2, draw(pixel)
    width, height = draw(st.integers(1, 128 - left)), draw(st.integers(1, 64 - top))
    kind = draw(st.sampled_from(['any', 'one pixel', 'whole image', 'nothing']))
    right_bottom = {
        'any': (left + width, top + height),
        'one pixel': (left + 1, top + 1),
        'whole image': (128, 64),
        'nothing': (left, top),
    }[kind]
    start = (0, 0) if kind == 'whole image' else (left, top)
    return (draw(st.integers(0, 2)), *start, *right_bottom)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.lists(box(), max_size=9), min_size=1, max_size=3),
    preset=st.sampled_from(list(PRESETS)),
    extreme=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_losses_and_gradients_are_finite_for_any_targets(boxes, preset, extreme, seed):
    objective = RtDetrObjective(PRESETS[preset], 3, seed)
    targets = objective.prepare(batch_of(boxes))
    full_raw = predictions_for(targets, 3, seed=seed)
    base_raw = predictions_for(targets, 3, seed=seed + 1)
    if extreme:  # what a saturated sigmoid gives
        with torch.no_grad():
            for layer in (*base_raw.layers, *base_raw.denoising, *full_raw.layers):
                layer.logits.mul_(1e3)
                layer.boxes.round_()
    full, teacher = objective.full(full_raw, targets)
    base, distilled = objective.base(base_raw, teacher, targets)
    total = full['total'] + objective.base_total(base, distilled)
    total.backward()
    assert all(math.isfinite(value) for value in numbers(full | base | distilled).values())
    for tensor in leaves(full_raw) + leaves(base_raw):
        assert np.isfinite(tensor.grad.numpy()).all()

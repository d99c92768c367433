"""Recipes: every one of config/recipes can be used, and mistakes are named."""

from pathlib import Path

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.config import from_mapping, to_mapping
from anydepth_core.models.build import BUILDERS
from anydepth_core.models.rtdetr.objective import DetrLossSettings, PRESETS
from anydepth_core.models.yolov12.objective import LossSettings
from anydepth_core.train.families import build_objective, FAMILIES, family_of
from anydepth_core.train.optim import build_optimizer
from anydepth_core.train.recipe import load_recipe

RECIPES = Path(__file__).parents[3] / 'config' / 'recipes'
COCO_RTDETR = sorted(path.stem for path in RECIPES.glob('*rtdetr_*_coco*.yaml'))


def load(stem):
    return load_recipe(RECIPES / f'{stem}.yaml')


def meta_detector(settings, classes=80):
    with torch.device('meta'):
        return build_detector(settings.model.name, settings.model.variant, classes)


def groups(stem):
    """{(learning rate, weight decay): number of trained values} of a recipe."""
    settings = load(stem)
    optimizer = build_optimizer(meta_detector(settings), settings.optimizer)
    return {
        (group['lr'], group['weight_decay']): sum(p.numel() for p in group['params'])
        for group in optimizer.param_groups
    }


@pytest.mark.parametrize('path', sorted(RECIPES.glob('*.yaml')), ids=lambda path: path.stem)
def test_recipe_can_be_used(path):
    settings = load_recipe(path)
    detector = meta_detector(settings)
    assert build_optimizer(detector, settings.optimizer).param_groups
    objective = build_objective(detector.family, settings.loss, 80)
    assert objective.same_view == ('published' not in path.stem)
    rebuilt = from_mapping(to_mapping(settings)['loss'], type(settings.loss))
    assert rebuilt == settings.loss


@pytest.mark.parametrize('stem', COCO_RTDETR)
def test_coco_recipes_follow_the_published_facts(stem):
    settings = load(stem)
    assert (settings.epochs, settings.clip_norm) == (72, 0.1)
    assert (settings.ema_decay, settings.ema_ramp) == (0.9999, 2000)
    assert settings.random_sizes.count(640) == 3 and len(settings.random_sizes) == 13
    assert settings.batch_size == (8 if stem.startswith('anydepth_rtdetr_r101') else 4)
    augment = settings.augment
    assert (augment.photometric, augment.zoom_out, augment.crop, augment.flip) == (
        0.5,
        0.5,
        0.8,
        0.5,
    )
    assert augment.mosaic == augment.scale == augment.translate == 0
    published = stem.endswith('published')
    assert settings.loss == PRESETS['published' if published else 'corrected']
    assert settings.model.variant == ('published' if published else 'corrected')


def test_any_depth_r50_has_the_published_groups():
    # 52 tensors of the backbone, 42 875 660 trained values in all
    assert groups('anydepth_rtdetr_r50_coco_published') == {
        (1e-5, 1e-4): 23_445_504,
        (1e-4, 1e-4): 19_358_976,
        (1e-4, 0.0): 71_180,
    }


def test_r18_decays_no_norm_of_the_backbone():
    assert set(groups('rtdetr_r18_coco')) == {(1e-5, 1e-4), (1e-5, 0), (1e-4, 1e-4), (1e-4, 0)}


def test_r101_recipes_differ():
    assert set(groups('rtdetr_r101_coco')) == {(1e-6, 1e-4), (1e-4, 1e-4)}
    any_depth = groups('anydepth_rtdetr_r101_coco_published')
    assert set(any_depth) == {(2e-6, 2e-4), (2e-4, 2e-4), (2e-4, 0.0)}


@pytest.mark.parametrize('name', list(BUILDERS))
def test_family_follows_from_the_name(name):
    with torch.device('meta'):
        family = build_detector(name, num_classes=2).family
    assert family_of(name) is FAMILIES[family]


def write(folder, text):
    path = folder / 'recipe.yaml'
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ('name', 'loss'), [('anydepth_yolov12n', LossSettings), ('rtdetr_r18', DetrLossSettings)]
)
def test_losses_are_optional_and_those_of_the_family(tmp_path, name, loss):
    for text in ('', 'loss:\n', 'loss: {}\n'):
        assert load_recipe(write(tmp_path, f'model: {{name: {name}}}\n{text}')).loss == loss()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{alpha_base: 0.2}', 'loss: unknown setting alpha_base'),
        ('{denoising: {queries: many}}', 'loss: .*denoising.queries'),
        ('{distillation: {class_form: sigmoid}}', 'loss: .*class_form is .*binary, softmax'),
        ('12', 'loss must be a mapping of settings, not int'),
    ],
)
def test_wrong_loss_setting_is_named(tmp_path, text, message):
    path = write(tmp_path, f'model: {{name: rtdetr_r18}}\nloss: {text}\n')
    with pytest.raises(ValueError, match=f'recipe.yaml: {message}'):
        load_recipe(path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model: {name: rtdetr_r19}', r"model.name is 'rtdetr_r19'; known: .*rtdetr_r18"),
        ('model: {name: rtdetr_r18}\nema_ramp: 0', 'ema_ramp is 0'),
        ('model: {name: rtdetr_r18}\naccumulate: 0', 'accumulate is 0; at least 1'),
        ('model: {name: rtdetr_r18}\nsample_depths: 1.5', 'sample_depths is 1.5; a share in 0..1'),
        (
            'model: {name: rtdetr_r18}\nablation: {passes: teacher}',
            "ablation.passes is 'teacher'; allowed: both, full, base",
        ),
        (
            'model: {name: rtdetr_r18}\nsample_depths: 0.3\nablation: {passes: full}',
            'sample_depths is 0.3, but ablation.passes is full',
        ),
        ('model: {name: rtdetr_r18}\nclip: 1', 'unknown setting clip'),
        ('epochs: 3', 'model'),
    ],
)
def test_wrong_recipe_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=f'recipe.yaml: .*{message}'):
        load_recipe(write(tmp_path, text))

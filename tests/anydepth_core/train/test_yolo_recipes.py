"""Recipes of YOLOv12: the published settings, and what small data needs."""

from pathlib import Path

import pytest

from anydepth_core.models.yolov12.distill import PRESETS
from anydepth_core.train.recipe import load_recipe

RECIPES = Path(__file__).parents[3] / 'config' / 'recipes'
PUBLISHED_PROCESSES = 4


def load(stem):
    return load_recipe(RECIPES / f'{stem}.yaml')


@pytest.mark.parametrize(
    ('scale', 'batch', 'augmentation'),
    [
        ('n', 256, (0.5, 0.0, 0.1)),
        ('s', 128, (0.9, 0.05, 0.15)),
        ('l', 64, (0.9, 0.15, 0.5)),
        ('x', 64, (0.9, 0.2, 0.6)),
    ],
)
def test_coco_recipes_follow_the_published_facts(scale, batch, augmentation):
    settings = load(f'anydepth_yolov12{scale}_coco')
    assert settings.model.name == f'anydepth_yolov12{scale}'
    assert (settings.epochs, settings.plain_epochs, settings.image_size) == (600, 10, (640, 640))
    assert settings.batch_size * PUBLISHED_PROCESSES == batch
    assert batch * settings.accumulate == 256
    augment = settings.augment
    assert (augment.scale, augment.mixup, augment.copy_paste) == augmentation
    assert (augment.mosaic, augment.flip, augment.translate) == (1.0, 0.5, 0.1)
    assert augment.hsv == (0.015, 0.7, 0.4)
    assert (settings.ema_decay, settings.ema_ramp, settings.clip_norm) == (0.9999, 2000, 10.0)
    optimizer = settings.optimizer
    assert (optimizer.name, optimizer.schedule) == ('sgd', 'linear')
    assert (optimizer.rate, optimizer.final_factor, optimizer.momentum) == (0.01, 0.01, 0.937)
    assert (optimizer.weight_decay, optimizer.warmup_epochs) == (5e-4, 3.0)
    assert settings.loss.alpha_base == 0.2
    if scale != 'n':
        assert settings.loss.distillation == PRESETS['coco_l']


@pytest.mark.parametrize(
    ('stem', 'rate', 'images_per_step', 'epochs', 'size'),
    [
        ('fine_tune_bdd', 1e-3, 2 * 128, 30, (736, 1280)),
        ('fine_tune_kitti', 1e-4, 64, 20, (384, 1248)),
    ],
)
def test_fine_tuning_follows_the_published_facts(stem, rate, images_per_step, epochs, size):
    settings = load(stem)
    processes = 2 if stem.endswith('bdd') else 1
    assert settings.batch_size == 16
    assert settings.batch_size * settings.accumulate * processes == images_per_step
    assert (settings.epochs, settings.plain_epochs, settings.image_size) == (epochs, 0, size)
    augment = settings.augment
    assert augment.mosaic == augment.mixup == augment.copy_paste == 0
    assert (settings.optimizer.rate, settings.optimizer.momentum) == (rate, 0.9)
    assert settings.loss.distillation == PRESETS['finetune']


@pytest.mark.parametrize('stem', ['small_data', 'fine_tune'])
def test_recipes_for_own_data_expect_the_files_of_the_walk_through(stem):
    data = load(stem).data
    assert (data.train, data.train_images) == ('train.json', 'images')
    assert (data.val, data.val_images) == ('val.json', 'images')

"""What ``anydepth train --dry-run`` finds and shows."""

from functools import partial
import json

import pytest

from anydepth_core.cli import main
from anydepth_core.models.build import BUILDERS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from tests.anydepth_core.support.tiny_rtdetr import TINY


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch, data):
    monkeypatch.setitem(BUILDERS, 'tiny_rtdetr', partial(AnyDepthRTDETR, 'tiny_rtdetr', TINY))
    recipe = data / 'recipe.yaml'
    recipe.write_text(recipe.read_text().replace('anydepth_yolov12n', 'tiny_rtdetr'))


def change(data, **changes):
    recipe = data / 'recipe.yaml'
    recipe.write_text(recipe.read_text() + ''.join(f'{k}: {v}\n' for k, v in changes.items()))


def change_annotations(data, split, act):
    path = data / f'{split}.json'
    content = json.loads(path.read_text())
    act(content)
    path.write_text(json.dumps(content))


def dry_run(data):
    recipe, output = str(data / 'recipe.yaml'), str(data / 'out')
    return main(['train', recipe, '--data', str(data), '--output', output, '--dry-run'])


def test_the_plan_is_shown_and_nothing_is_written(data, capsys):
    change(data, accumulate=2)
    before = sorted(path for path in data.rglob('*'))
    assert dry_run(data) == 0
    shown = capsys.readouterr().out
    for text in (
        'tiny_rtdetr',
        '8 images, 7 boxes of 1 classes, 1 images without boxes',
        '2 epochs of 1 steps of 8 images (batch 4 x accumulate 2 x processes 1), float32',
        'sizes       32, 64; the last 1 epochs and evaluation 64x64',
        'full, base, every 1 epochs',
        'losses of 2 images at 64x64: full ',
        'memory      about',
        'best_base.safetensors',
        'nothing was written',
    ):
        assert text in shown
    assert 'look at' not in shown
    assert sorted(path for path in data.rglob('*')) == before


def test_what_is_seldom_meant_is_shown(data, capsys):
    def act(content):
        content['annotations'][0]['bbox'] = [10, 10, 1, 20]
        content['categories'].append({'id': 8, 'name': 'ball'})

    for split in ('train', 'val'):
        change_annotations(data, split, act)
    assert dry_run(data) == 0
    shown = capsys.readouterr().out
    assert 'look at     1 boxes are thinner than 2 pixels' in shown
    assert 'look at     no training image shows ball' in shown


def test_an_unreadable_image_is_named(data, capsys):
    (data / 'val' / '2.png').write_bytes(b'no image')
    assert dry_run(data) == 1
    assert '2.png is no readable image' in capsys.readouterr().err


def test_different_classes_are_named(data, capsys):
    change_annotations(data, 'val', lambda content: content['categories'][0].update(name='ball'))
    assert dry_run(data) == 1
    error = capsys.readouterr().err
    assert 'only one of them has box, ball' in error and error.count('\n') == 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'evaluate_depths': '[full]'}, 'full and base must be among them'),
        ({'evaluate_depths': '[full, base, 1111-1111]'}, 'evaluate_depths: '),
        ({'patience': -1}, 'patience is -1'),
        ({'init': 'none.safetensors'}, 'none.safetensors'),
    ],
)
def test_a_recipe_that_could_not_run_is_refused(data, capsys, changes, message):
    change(data, **changes)
    assert dry_run(data) == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1

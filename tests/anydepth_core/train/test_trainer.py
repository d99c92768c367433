"""Training runs of two tiny epochs: files, resume, refusals."""

import csv
import json

import cv2
import numpy as np
import pytest

from anydepth_core.checkpoint import load_checkpoint, read_metadata
from anydepth_core.cli import main

RECIPE = """
model: {name: anydepth_yolov12n}
data: {cache: false}
image_size: [64, 64]
epochs: 2
plain_epochs: 1
random_sizes: [32, 64]
batch_size: 4
workers: 0
optimizer: {name: adamw, rate: 1e-3, warmup_epochs: 0}
"""


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('val', 3)):
        (tmp_path / split).mkdir()
        images, annotations = [], []
        for i in range(count):
            picture = rng.integers(0, 255, (48, 60, 3), dtype=np.uint8)
            cv2.rectangle(picture, (10, 10), (40, 35), (0, 0, 255), -1)
            cv2.imwrite(str(tmp_path / split / f'{i}.png'), picture)
            images.append({'id': i, 'file_name': f'{i}.png', 'width': 60, 'height': 48})
            if i != 1:
                annotations.append(
                    {
                        'id': i + 1,
                        'image_id': i,
                        'category_id': 7,
                        'bbox': [10, 10, 31, 26],
                        'area': 806,
                        'iscrowd': 0,
                    }
                )
        content = {
            'images': images,
            'annotations': annotations,
            'categories': [{'id': 7, 'name': 'box'}],
        }
        (tmp_path / f'{split}.json').write_text(json.dumps(content))
    (tmp_path / 'recipe.yaml').write_text(RECIPE)
    return tmp_path


def train(data, output, *options):
    return main(
        [
            'train',
            str(data / 'recipe.yaml'),
            '--data',
            str(data),
            '--output',
            str(output),
            *options,
        ]
    )


def rows(folder):
    with (folder / 'metrics.csv').open(newline='') as file:
        return [{k: v for k, v in row.items() if k != 'seconds'} for row in csv.DictReader(file)]


def test_run_writes_checkpoints_and_a_log_and_resumes_exactly(data, capsys):
    assert train(data, data / 'whole') == 0
    assert 'full: AP' in capsys.readouterr().out
    assert [row['epoch'] for row in rows(data / 'whole')] == ['0', '1']
    assert {'full_total', 'base_total', 'distillation_total', 'AP_full', 'AP50_base'} <= set(
        rows(data / 'whole')[0]
    )
    metadata = read_metadata(data / 'whole' / 'last.safetensors')
    assert metadata['class_names'] == ['box'] and set(metadata['metrics']) == {'full', 'base'}
    assert metadata['recipe']['optimizer']['name'] == 'adamw'

    # a run stopped after the first epoch and resumed equals the whole one
    from anydepth_core.train import trainer

    class Stop(BaseException):
        pass

    original = trainer.Trainer.train_epoch

    def stop_in_second(self, epoch):
        if epoch == 1:
            raise Stop
        return original(self, epoch)

    trainer.Trainer.train_epoch = stop_in_second
    try:
        with pytest.raises(Stop):
            train(data, data / 'parts')
    finally:
        trainer.Trainer.train_epoch = original
    assert train(data, data / 'parts', '--resume') == 0
    assert rows(data / 'parts') == rows(data / 'whole')
    whole, parts = (
        load_checkpoint(data / name / 'last.safetensors').state_dict()
        for name in ('whole', 'parts')
    )
    assert all((whole[key] == parts[key]).all() for key in whole)


def test_existing_run_is_not_overwritten(data, capsys):
    (data / 'out').mkdir()
    (data / 'out' / 'state.safetensors').write_bytes(b'precious')
    assert train(data, data / 'out') == 2
    assert 'add --resume' in capsys.readouterr().err
    assert (data / 'out' / 'state.safetensors').read_bytes() == b'precious'


def test_resume_without_a_run_is_refused(data, capsys):
    assert train(data, data / 'none', '--resume') == 2
    assert 'does not exist' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('epochs: 2\n', 'epochs: two\n', 'epochs'),
        ('workers: 0', 'wokers: 0', 'wokers'),
        ('rate: 1e-3', 'rat: 1e-3', 'rat'),
        ('name: adamw', 'name: adam', 'sgd, adamw'),
        ('anydepth_yolov12n', 'anydepth_yolov12m', 'anydepth_yolov12n, anydepth_yolov12s'),
        ('[64, 64]', '[64, 60]', 'multiples of 32'),
    ],
)
def test_wrong_setting_is_named(data, capsys, old, new, message):
    recipe = data / 'recipe.yaml'
    recipe.write_text(recipe.read_text().replace(old, new))
    assert train(data, data / 'out') == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_missing_annotations_are_named(data, capsys):
    (data / 'train.json').unlink()
    assert train(data, data / 'out') == 2
    assert capsys.readouterr().err == f'anydepth train: {data / "train.json"} does not exist\n'


def test_missing_images_are_refused_before_training(data, capsys):
    (data / 'train' / '3.png').unlink()
    assert train(data, data / 'out') == 2
    assert '3.png' in capsys.readouterr().err


def test_loss_that_is_not_finite_ends_with_one_sentence(data, capsys):
    recipe = data / 'recipe.yaml'
    recipe.write_text(recipe.read_text().replace('1e-3', '1e30') + 'clip_norm: 1e30\n')
    assert train(data, data / 'out') == 2
    error = capsys.readouterr().err.strip().split('\n')[-1]
    assert 'not finite' in error and 'lower the learning rate' in error

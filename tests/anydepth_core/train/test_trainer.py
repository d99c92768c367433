"""Training runs of two tiny epochs: files, resume, refusals."""

import csv
from dataclasses import replace
from functools import partial

import pytest
import torch

from anydepth_core.checkpoint import load_checkpoint, read_metadata
from anydepth_core.checkpoint.io import read_tensors
from anydepth_core.cli import main
from anydepth_core.models.build import BUILDERS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from anydepth_core.train.stepping import Stepper
from tests.anydepth_core.support.tiny_rtdetr import TINY

PUBLISHED_RTDETR = """
model: {name: tiny_rtdetr, variant: published}
data: {cache: false}
image_size: [64, 64]
epochs: 2
plain_epochs: 1
random_sizes: [32, 64]
batch_size: 4
workers: 0
clip_norm: 0.1
ema_ramp: 10
augment: {hsv: [0, 0, 0], translate: 0, scale: 0, mosaic: 0, photometric: 0.5, crop: 0.8}
optimizer: {name: adamw, rate: 1e-3, backbone_rate: 1e-4, schedule: constant, warmup_epochs: 0}
loss: {same_view: false, base_vfl: 0.0, distillation: {class_form: softmax}}
"""


@pytest.fixture(autouse=True)
def tiny_rtdetr(monkeypatch):
    layout = replace(TINY, frozen=True)
    monkeypatch.setitem(BUILDERS, 'tiny_rtdetr', partial(AnyDepthRTDETR, 'tiny_rtdetr', layout))


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


TIMES = ('seconds', 'images_per_second')


def rows(folder):
    with (folder / 'metrics.csv').open(newline='') as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


class Stop(BaseException):
    """What tests end a run with."""


def stop_at(patch, position):
    """Let training end before the step (epoch, step)."""
    original = Stepper.take

    def take(self, batches, progress, interruption):
        if progress.position == position:
            raise Stop
        return original(self, batches, progress, interruption)

    patch.setattr(Stepper, 'take', take)


@pytest.mark.parametrize('family', ['yolov12', 'rtdetr'])
def test_run_writes_its_files_and_resumes_exactly(data, capsys, monkeypatch, family):
    if family == 'rtdetr':
        (data / 'recipe.yaml').write_text(PUBLISHED_RTDETR)
    assert train(data, data / 'whole') == 0
    assert 'full: AP' in capsys.readouterr().out
    assert [row['epoch'] for row in rows(data / 'whole')] == ['0', '1']
    assert {'full_total', 'base_total', 'distillation_total', 'AP_full', 'AP50_base'} <= set(
        rows(data / 'whole')[0]
    )
    metadata = read_metadata(data / 'whole' / 'last.safetensors')
    assert metadata['class_names'] == ['box'] and set(metadata['metrics']) == {'full', 'base'}
    assert metadata['recipe']['optimizer']['name'] == 'adamw'

    for position in ((0, 1), (1, 1)):
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stop_at(patch, position)
            train(data, data / 'parts', *(['--resume'] if position[0] else []))
    assert train(data, data / 'parts', '--resume') == 0
    assert rows(data / 'parts') == rows(data / 'whole')
    for name, form in (
        ('last.safetensors', 'anydepth-checkpoint-1'),
        ('best_full.safetensors', 'anydepth-checkpoint-1'),
        ('best_base.safetensors', 'anydepth-checkpoint-1'),
        ('state.safetensors', 'anydepth-train-state-2'),
    ):
        whole, parts = (
            read_tensors(data / run / name, expected_format=form)[0] for run in ('whole', 'parts')
        )
        assert set(whole) == set(parts)
        assert all((whole[key] == parts[key]).all() for key in whole)


def test_training_ends_when_nothing_gets_better(data, caplog):
    text = PUBLISHED_RTDETR.replace('epochs: 2', 'epochs: 9').replace('rate: 1e-3', 'rate: 1e-9')
    recipe = data / 'recipe.yaml'
    recipe.write_text(f'{text}patience: 1\nevaluate_depths: [full, base, 0000-1d2]\n')
    with caplog.at_level('INFO'):
        assert train(data, data / 'out') == 0
        assert len(rows(data / 'out')) == 2 and 'AP50_0000-1d2' in rows(data / 'out')[0]
        assert 'no better mean AP in 1 evaluations' in caplog.text
        assert train(data, data / 'out', '--resume') == 0
    assert len(rows(data / 'out')) == 2
    assert 'the run has ended already, after 2 epochs' in caplog.text


def test_deterministic_runs_are_equal_with_any_number_of_workers(data):
    (data / 'recipe.yaml').write_text(f'{PUBLISHED_RTDETR}deterministic: true\n')
    tensors = []
    for workers in ('0', '2', '2'):
        output = data / f'out{len(tensors)}'
        assert train(data, output, '--workers', workers) == 0
        assert not torch.are_deterministic_algorithms_enabled()
        tensors.append(
            read_tensors(output / 'state.safetensors', expected_format='anydepth-train-state-2')[0]
        )
    for other in tensors[1:]:
        assert all(torch.equal(value, other[key]) for key, value in tensors[0].items())


def test_frozen_norms_and_stem_stay_as_they_are(data, caplog):
    (data / 'recipe.yaml').write_text(PUBLISHED_RTDETR)
    assert train(data, data / 'out', '--epochs', '1') == 0
    first = load_checkpoint(data / 'out' / 'last.safetensors')
    assert train(data, data / 'out', '--resume') == 0
    second = load_checkpoint(data / 'out' / 'last.safetensors')
    assert caplog.text.count('needs pre-trained weights') == 1
    buffers = dict(second.backbone.named_buffers())
    assert buffers and all(
        (value == first.backbone.get_buffer(n)).all() for n, value in buffers.items()
    )
    moved = [n for n, p in second.named_parameters() if (p != first.get_parameter(n)).any()]
    assert moved and not any(name.startswith('backbone.stem.') for name in moved)


def test_training_starts_from_given_weights(data, caplog):
    assert train(data, data / 'first', '--epochs', '1') == 0
    weights = data / 'first' / 'last.safetensors'
    recipe = data / 'recipe.yaml'
    recipe.write_text(f'{recipe.read_text()}\ninit: {data}/none.safetensors\n')
    with caplog.at_level('INFO'):
        assert train(data, data / 'second', '--init', str(weights), '--epochs', '1') == 0
    assert f'{weights}: ' in caplog.text and 'tensors taken' in caplog.text
    metadata = read_metadata(data / 'second' / 'last.safetensors')
    assert metadata['recipe']['init'] == weights.name


def test_weights_of_another_model_end_with_one_sentence(data, capsys):
    assert train(data, data / 'first', '--epochs', '1') == 0
    capsys.readouterr()
    (data / 'recipe.yaml').write_text(PUBLISHED_RTDETR)
    weights = str(data / 'first' / 'last.safetensors')
    assert train(data, data / 'second', '--init', weights) == 1
    error = capsys.readouterr().err
    assert 'anydepth_yolov12n' in error and error.count('\n') == 1


def test_existing_run_is_not_overwritten(data, capsys):
    (data / 'out').mkdir()
    (data / 'out' / 'state.safetensors').write_bytes(b'precious')
    assert train(data, data / 'out') == 1
    assert 'add --resume' in capsys.readouterr().err
    assert (data / 'out' / 'state.safetensors').read_bytes() == b'precious'


def test_resume_without_a_run_is_refused(data, capsys):
    assert train(data, data / 'none', '--resume') == 1
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
        ('rate: 1e-3', 'no_decay: [norm], rate: 1e-3', 'optimizer.no_decay'),
        ('rate: 1e-3', 'no_decay: [decoder.norms], rate: 1e-3', 'backbone, neck, head'),
        ('workers: 0', 'workers: 0\nloss: {base_vfl: 1.0}', 'loss: unknown setting base_vfl'),
    ],
)
def test_wrong_setting_is_named(data, capsys, old, new, message):
    recipe = data / 'recipe.yaml'
    recipe.write_text(recipe.read_text().replace(old, new))
    assert train(data, data / 'out') == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_missing_annotations_are_named(data, capsys):
    (data / 'train.json').unlink()
    assert train(data, data / 'out') == 1
    error = capsys.readouterr().err
    assert error == f'anydepth train: {data / "train.json"} does not exist: check the path\n'


def test_missing_images_are_refused_before_training(data, capsys):
    (data / 'train' / '3.png').unlink()
    assert train(data, data / 'out') == 1
    assert '3.png' in capsys.readouterr().err


def test_loss_that_is_not_finite_ends_with_one_sentence(data, capsys):
    recipe = data / 'recipe.yaml'
    recipe.write_text(recipe.read_text().replace('1e-3', '1e30') + 'clip_norm: 1e30\n')
    assert train(data, data / 'out') == 1
    error = capsys.readouterr().err.strip().split('\n')[-1]
    assert 'not finite' in error and 'lower the learning rate' in error


def test_rtdetr_whose_predictions_are_not_finite_ends_with_one_sentence(data, capsys):
    (data / 'recipe.yaml').write_text(PUBLISHED_RTDETR.replace('rate: 1e-3', 'rate: 1e30'))
    assert train(data, data / 'out') == 1
    error = capsys.readouterr().err.strip().split('\n')[-1]
    assert 'not finite' in error and 'go on with --resume' in error

"""Runs that end before their time: nothing is lost, and what goes on is the unbroken run."""

import csv
import errno
from functools import partial
import multiprocessing
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from anydepth_core.checkpoint.io import read_tensors
from anydepth_core.cli import main
from anydepth_core.models.build import BUILDERS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from anydepth_core.train import stepping
from anydepth_core.train.stepping import Stepper
from tests.anydepth_core.support.tiny_rtdetr import TINY
from tests.anydepth_core.train.conftest import write_data

RECIPE = """
model: {name: tiny_rtdetr}
data: {cache: false}
image_size: [64, 64]
epochs: 2
plain_epochs: 1
random_sizes: [64, 96]
batch_size: 1
accumulate: 2
workers: 1
sample_depths: 0.5
evaluate_every: 2
optimizer: {name: adamw, rate: 1e-3, warmup_epochs: 0}
"""
REAL_RECIPE = RECIPE.replace('tiny_rtdetr', 'anydepth_yolov12n')
STATE = 'anydepth-train-state-2'
TIMES = ('seconds', 'images_per_second')


@pytest.fixture(scope='module', autouse=True)
def one_thread_and_a_tiny_model():
    """Sums of several threads may differ from those of one, which the processes here have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUILDERS, 'tiny_rtdetr', partial(AnyDepthRTDETR, 'tiny_rtdetr', TINY))
        yield
    torch.set_num_threads(before)


def command(data, output, *options):
    recipe = str(data / 'recipe.yaml')
    return ['train', recipe, '--data', str(data), '--output', str(output), *options]


def train(data, output, *options):
    return main(command(data, output, *options))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An unbroken run."""
    data = write_data(tmp_path_factory.mktemp('whole'), RECIPE)
    assert train(data, data / 'out') == 0
    return data / 'out'


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path, RECIPE)


def position(output):
    progress = read_tensors(output / 'state.safetensors', False, STATE)[1]['progress']
    return progress['epoch'], progress['step']


def assert_same_run(output, whole):
    def rows(folder):
        with (folder / 'metrics.csv').open(newline='') as file:
            return [
                {k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)
            ]

    assert rows(output) == rows(whole)
    for name, form in (('last', 'anydepth-checkpoint-1'), ('state', STATE)):
        mine, other = (
            read_tensors(folder / f'{name}.safetensors', expected_format=form)
            for folder in (output, whole)
        )
        assert set(mine[0]) == set(other[0])
        assert all(torch.equal(mine[0][key], other[0][key]) for key in mine[0])
    assert mine[1]['progress'] == other[1]['progress']


def before_step(monkeypatch, wanted, act):
    """Call ``act`` once, when a step is about to be trained."""
    original, acted = Stepper.take, []

    def take(self, batches, progress, interruption):
        if progress.position == wanted and not acted:
            acted.append(True)
            act()
        return original(self, batches, progress, interruption)

    monkeypatch.setattr(Stepper, 'take', take)


def within_step(monkeypatch, count, act):
    """Call ``act`` in the middle of the step with this number, after its passes."""
    original, steps = stepping.any_depth_step, []

    def step(*args):
        steps.append(True)
        losses = original(*args)
        if len(steps) == count:
            act()
        return losses

    monkeypatch.setattr(stepping, 'any_depth_step', step)


def wait_for_a_step(process, output, before):
    """Wait until a run has saved more than the position ``before``."""
    while not (output / 'state.safetensors').exists() or position(output) <= before:
        assert process.poll() is None, 'the run has ended'
        time.sleep(0.02)


@pytest.mark.timeout(600)
def test_a_run_that_is_killed_twice_equals_an_unbroken_one(data):
    recipe = data / 'recipe.yaml'
    recipe.write_text(f'{REAL_RECIPE}save_minutes: 0\n')
    output, before = data / 'out', (-1, -1)
    for number in (signal.SIGTERM, signal.SIGKILL):
        options = ['--resume'] if before[0] >= 0 else []
        process = subprocess.Popen(
            [sys.executable, '-m', 'anydepth_core.cli', *command(data, output, *options)],
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for_a_step(process, output, before)
        process.send_signal(number)
        text = process.communicate()[0]
        killed = number == signal.SIGKILL
        assert process.returncode == (-number if killed else 128 + number)
        assert killed or '--resume' in text.splitlines()[-1]
        before = position(output)
        assert before < (2, 0)
    recipe.write_text(REAL_RECIPE)
    assert train(data, output, '--resume') == 0
    assert train(data, data / 'whole', '--workers', '0') == 0
    assert_same_run(output, data / 'whole')


def test_a_signal_in_a_step_ends_the_run_after_it(data, whole, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        within_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(data, data / 'out') == 128 + signal.SIGTERM
    assert '0 epochs and 2 of 4 steps are kept' in capsys.readouterr().out
    assert position(data / 'out') == (0, 2)
    assert train(data, data / 'out', '--resume') == 0
    assert_same_run(data / 'out', whole)


def fails_then_goes_on(data, whole, capsys, message, kept):
    """Train with an error of one sentence, check what is kept, and go on."""
    assert train(data, data / 'out') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and 'go on with --resume' in error and 'Traceback' not in error
    assert position(data / 'out') == kept
    return lambda: (train(data, data / 'out', '--resume'), assert_same_run(data / 'out', whole))


def test_a_killed_loading_process_loses_nothing(data, whole, monkeypatch, capsys):
    def kill():
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    with monkeypatch.context() as patch:
        within_step(patch, 2, kill)
        go_on = fails_then_goes_on(data, whole, capsys, 'lower workers', (0, 2))
    go_on()


def test_an_unreadable_image_in_the_middle_of_an_epoch_loses_nothing(
    data, whole, monkeypatch, capsys
):
    files = {path: path.read_bytes() for path in (data / 'train').iterdir()}
    (data / 'recipe.yaml').write_text(RECIPE.replace('workers: 1', 'workers: 0'))

    def spoil():
        for path in files:
            path.write_bytes(b'no image')

    with monkeypatch.context() as patch:
        before_step(patch, (1, 1), spoil)
        go_on = fails_then_goes_on(data, whole, capsys, 'is no readable image', (1, 2))
    for path, content in files.items():
        path.write_bytes(content)
    go_on()


@pytest.mark.parametrize('name', ['state', 'last'])
def test_a_full_disk_keeps_what_was_written_before(data, whole, monkeypatch, capsys, name):
    if name == 'state':
        recipe = data / 'recipe.yaml'
        recipe.write_text(f'{RECIPE}save_minutes: 0\n')
    original, writes = Path.write_bytes, []

    def write_bytes(self, content):
        if self.name.startswith(f'.{name}.'):
            writes.append(True)
            if name != 'state' or len(writes) > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_bytes', write_bytes)
        kept = (0, 3) if name == 'state' else (0, 4)
        go_on = fails_then_goes_on(data, whole, capsys, 'the disk is full', kept)
    assert not [path.name for path in (data / 'out').iterdir() if path.name.startswith('.')]
    go_on()


def test_a_step_that_fails_leaves_everything_as_it_was(data, whole, monkeypatch, capsys):
    original, steps = stepping.any_depth_step, []

    def step(detector, *args):
        steps.append(True)
        if len(steps) == 3:
            detector(torch.rand(2, 3, 64, 64), 'full')
            raise FloatingPointError('the loss is not finite')
        return original(detector, *args)

    with monkeypatch.context() as patch:
        patch.setattr(stepping, 'any_depth_step', step)
        go_on = fails_then_goes_on(data, whole, capsys, 'not finite', (0, 2))
    go_on()


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda content: content[: len(content) // 2], 'no readable safetensors file'),
        (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], 'is damaged'),
        (lambda content: b'garbage', 'no readable safetensors file'),
        (lambda content: b'', 'no readable safetensors file'),
        (lambda content: None, 'no run to go on with'),
    ],
)
def test_a_damaged_state_is_refused_in_one_sentence(data, whole, capsys, spoil, message):
    shutil.copytree(whole, data / 'out')
    state = data / 'out' / 'state.safetensors'
    content = spoil(state.read_bytes())
    if content is None:
        state.unlink()
    else:
        state.write_bytes(content)
    assert train(data, data / 'out', '--resume') == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
    assert content is None or '--init' in error


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'message'),
    [
        ('recipe.yaml', 'batch_size: 1', 'batch_size: 2', 'images per step 2 -> 4'),
        ('train.json', '"width": 60', '"width": 61', 'training images 8 ('),
    ],
)
def test_another_run_is_refused_in_one_sentence(data, whole, capsys, name, old, new, message):
    shutil.copytree(whole, data / 'out')
    path = data / name
    path.write_text(path.read_text().replace(old, new))
    assert train(data, data / 'out', '--resume') == 1
    error = capsys.readouterr().err
    assert message in error and '--init' in error and error.count('\n') == 1

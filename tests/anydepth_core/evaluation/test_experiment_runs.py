"""Runs are carried out once, go on where they stopped, and fail without harm to the others."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from anydepth_core.evaluation.experiments import norms
from anydepth_core.evaluation.experiments import runs as runs_module
from anydepth_core.evaluation.experiments.matrix import Run, runs_of
from anydepth_core.evaluation.experiments.results import read_points
from anydepth_core.evaluation.experiments.runs import (
    epochs_done,
    finished,
    Runner,
    train_command,
)
from tests.anydepth_core.support.tools import load_tool, ROOT

RECIPE = """
model: {name: anydepth_yolov12n}
data: {train_images: images, val_images: images, cache: false}
image_size: [64, 64]
epochs: 2
plain_epochs: 1
batch_size: 4
workers: 0
optimizer: {name: adamw, rate: 1e-3, warmup_epochs: 0}
"""


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(runs_module, 'POLL_S', 0.02)


def python(code):
    """Return a function from a run to a command; {run} and {folder} stand for its own."""
    return lambda run: [
        sys.executable,
        '-c',
        code.format(run=run.name, folder=run.folder, output=run.output),
    ]


TRAIN = """
import pathlib
folder = pathlib.Path('{folder}'); folder.mkdir()
(folder / 'metrics.csv').write_text('epoch\\n0\\n1\\n')
"""
MEASURE = "open('{output}/{run}.points.csv', 'w').close()"


def test_a_run_is_trained_then_measured_and_its_metrics_kept(tmp_path):
    runs = runs_of(tmp_path, (0, 1), ('any_depth', 'full_only'))
    seen = []
    runner = Runner(python(TRAIN), python(MEASURE), 2, lambda *now: seen.append(now))
    assert runner.all(runs) == []
    assert all(map(finished, runs))
    assert [epochs_done(run) for run in runs] == [2] * 4
    assert runs[0].file('csv').read_text() == 'epoch\n0\n1\n'
    assert seen[-1] == (8, [])
    assert max(len(names) for _, names in seen) == 2


def test_what_is_finished_is_left_alone(tmp_path):
    (run,) = runs_of(tmp_path, (0,), ('any_depth',))
    run.file('points.csv').touch()
    assert Runner(python('raise SystemExit(1)'), python(MEASURE), 1).all([run]) == []


def test_a_failure_names_the_run_and_leaves_the_others(tmp_path):
    runs = runs_of(tmp_path, (0,), ('any_depth', 'full_only'))
    train = TRAIN + "\nassert '{run}' != 'any_depth-0', 'no such weather'"
    (failure,) = Runner(python(train), python(MEASURE), 1).all(runs)
    assert failure.startswith('any_depth-0: training ended with status 1')
    assert failure.endswith('AssertionError: no such weather')
    assert [finished(run) for run in runs] == [False, True]


def test_an_interrupted_run_goes_on_with_resume(tmp_path):
    (run,) = runs_of(tmp_path, (0,), ('any_depth',))
    assert '--resume' not in train_command(run, tmp_path)
    run.folder.mkdir()
    (run.folder / 'state.safetensors').touch()
    assert train_command(run, tmp_path)[-1] == '--resume'


def test_stopping_ends_the_trainings_politely(tmp_path):
    """They get SIGTERM, and are waited for: a trainer saves its state then."""
    (run,) = runs_of(tmp_path, (0,), ('any_depth',))
    train = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.2)
    pathlib.Path('{output}/ended').touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
pathlib.Path('{output}/started').touch()
time.sleep(60)
"""

    def stop_when_started(*_):
        if (tmp_path / 'started').exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Runner(python(train), python(MEASURE), 1, stop_when_started).all([run])
    assert (tmp_path / 'ended').exists()


@pytest.fixture
def data(tmp_path):
    """Red boxes on noise, laid out as BCCD is."""
    rng = np.random.default_rng(0)
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    images, boxes = [], []
    for i in range(4):
        picture = rng.integers(0, 255, (48, 60, 3), dtype=np.uint8)
        cv2.rectangle(picture, (10, 10), (40, 35), (0, 0, 255), -1)
        cv2.imwrite(str(tmp_path / 'data' / 'images' / f'{i}.png'), picture)
        images.append({'id': i, 'file_name': f'{i}.png', 'width': 60, 'height': 48})
        box = {'bbox': [10, 10, 31, 26], 'area': 806, 'iscrowd': 0}
        boxes.append({'id': i + 1, 'image_id': i, 'category_id': 7, **box})
    content = {
        'images': images,
        'annotations': boxes,
        'categories': [{'id': 7, 'name': 'box'}],
    }
    for split in ('train', 'val', 'test'):
        (tmp_path / 'data' / f'{split}.json').write_text(json.dumps(content))
    return tmp_path / 'data'


@pytest.fixture
def tool(tmp_path, monkeypatch):
    tool = load_tool('experiments')
    (tmp_path / 'recipes').mkdir()
    (tmp_path / 'recipes' / 'bccd.yaml').write_text(RECIPE)
    monkeypatch.setattr(tool, 'RECIPES', tmp_path / 'recipes')
    return tool


@pytest.mark.slow
def test_experiments_from_training_to_report(tool, data, tmp_path, capsys, monkeypatch):
    one = {'base': norms.Estimate(('base',), base_only=True)}
    monkeypatch.setattr(norms, 'estimates_of', lambda *_: one)  # all of them take long
    output = tmp_path / 'runs'
    place = ['bccd', '--data', str(data), '--output', str(output), '--only']
    status = tool.main(['run', *place, 'sampled', '--epochs', '1'])
    assert status == 0, capsys.readouterr().err
    assert '1 of 1 runs are finished' in capsys.readouterr().out
    found = read_points(Run('sampled', 0, output).file('points.csv'))
    assert {one.split for one in found} == {'val', 'test'}
    labels = ['full', '1111-0000', '0000-1111', 'guided -2', 'guided -5', 'base']
    assert [p.label for p in found if (p.split, p.weights) == ('test', 'averaged')] == labels

    assert tool.main(['norms', *place, 'sampled']) == 0
    assert tool.main(['report', '--output', str(output)]) == 0
    text = (output / 'report.md').read_text()
    assert '| `sampled` | own, augmented |' in text
    assert tool.main(['run', *place, 'sampled', '--epochs', '2']) == 1
    assert 'choose another --output' in capsys.readouterr().err


def test_norms_without_finished_runs_are_refused(tool, tmp_path, capsys):
    place = ['bccd', '--data', str(tmp_path), '--output', str(tmp_path)]
    assert tool.main(['norms', *place, '--only', 'full_only']) == 1
    assert 'no such run in' in capsys.readouterr().err


def test_a_report_without_runs_is_refused(tool, tmp_path, capsys):
    assert tool.main(['report', '--output', str(tmp_path)]) == 1
    assert 'holds figures of 0 data sets' in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_matrix_goes_on_where_it_stopped(tool, data, tmp_path):
    output = tmp_path / 'runs'
    shutil.copytree(tmp_path / 'recipes', tmp_path / 'project/config/recipes/experiments')
    shutil.copytree(ROOT / 'tools', tmp_path / 'project/tools')
    command = [
        *(sys.executable, str(tmp_path / 'project/tools/experiments.py'), 'run', 'bccd'),
        *('--data', str(data), '--output', str(output), '--only', 'full_only', '--epochs', '60'),
    ]
    run = Run('full_only', 0, output)
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while epochs_done(run) < 2:
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 130
    before = epochs_done(run)
    assert before < 60
    metrics = run.folder / 'metrics.csv'
    kept = metrics.read_text().splitlines()[: before + 1]
    second = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while epochs_done(run) < before + 1:
        assert second.poll() is None
        time.sleep(0.05)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 130
    assert metrics.read_text().splitlines()[: before + 1] == kept


def test_tools_place_finds_the_recipes():
    assert load_tool('experiments').RECIPES.is_dir()
    assert Path(load_tool('experiments').RECIPES, 'bccd.yaml').is_file()

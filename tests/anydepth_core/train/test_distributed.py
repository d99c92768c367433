"""Several processes: equal to one with the joint batch, and none is left waiting."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time

import pytest
import torch

from anydepth_core.checkpoint import load_checkpoint
from anydepth_core.models.rtdetr.denoising import DenoisingSettings
from anydepth_core.models.rtdetr.objective import DetrLossSettings
from anydepth_core.train.distributed import ALONE, joined, Processes
from anydepth_core.train.ema import Ema
from anydepth_core.train.families import build_objective
from anydepth_core.train.optim import build_optimizer, OptimizerSettings
from anydepth_core.train.step import any_depth_step, StepSettings
from tests.anydepth_core.support.processes import run_in_processes
from tests.anydepth_core.support.small_batch import (
    FAMILIES,
    freeze_statistics,
    one_image,
    small_batch,
    small_detector,
)

# the noise of denoising queries is drawn per process
LOSSES = {'yolov12': None, 'rtdetr': DetrLossSettings(denoising=DenoisingSettings(queries=0))}


def step(family, processes):
    """Gradients, weights and buffers after one step of float64 on this process's images."""
    detector = freeze_statistics(small_detector(family)).double()
    objective = build_objective(family, LOSSES[family], 3, 0, processes)
    optimizer = build_optimizer(detector, OptimizerSettings(rate=0.01, momentum=0.0))
    batch = small_batch()
    if processes.count > 1:
        batch = one_image(batch, processes.rank)
    any_depth_step(
        detector,
        batch,
        optimizer,
        objective,
        StepSettings(clip_norm=1e9),
        parallel=processes.parallel(detector),
        processes=processes,
    )
    gradients = {
        f'gradient.{name}': parameter.grad
        for name, parameter in detector.named_parameters()
        if parameter.grad is not None
    }
    return gradients | detector.state_dict()


def uneven_steps(family, processes):
    """Weights after two steps; in the first one the last process has no targets."""
    detector = small_detector(family)
    objective = build_objective(family, None, 3, 0, processes)
    optimizer = build_optimizer(detector, OptimizerSettings(name='adamw', rate=1e-3))
    parallel = processes.parallel(detector)
    for targets in (1, 3):
        any_depth_step(
            detector,
            one_image(small_batch(targets), processes.rank),
            optimizer,
            objective,
            StepSettings(),
            parallel=parallel,
            processes=processes,
        )
    return dict(detector.named_parameters())


def spoilt_step(processes):
    """Message of a step on images of which only those of the last process give no number."""
    detector = small_detector('rtdetr')
    before = {name: value.clone() for name, value in detector.named_parameters()}
    batch = one_image(small_batch(), processes.rank)
    if processes.rank:
        batch.boxes_xyxy_px[0, 0] = float('nan')
    objective = build_objective('rtdetr', None, 3, 0, processes)
    ema = Ema(detector)
    with pytest.raises(FloatingPointError) as error:
        any_depth_step(
            detector,
            batch,
            build_optimizer(detector, OptimizerSettings()),
            objective,
            StepSettings(),
            ema=ema,
            parallel=processes.parallel(detector),
            processes=processes,
        )
    unchanged = all(torch.equal(before[n], p) for n, p in detector.named_parameters())
    return {'message': str(error.value), 'unchanged': unchanged, 'updates': ema.updates}


def steps(folder):
    with joined('cpu') as processes:
        for family in FAMILIES:
            torch.save(step(family, processes), folder / f'{family}.{processes.rank}')
            uneven = uneven_steps(family, processes)
            torch.save(uneven, folder / f'{family}.uneven.{processes.rank}')
        facts = spoilt_step(processes) | {
            'mean': float(processes.average(torch.tensor(float(processes.rank)))),
            'any': processes.any(processes.rank == 1),
            'none': processes.any(False),
            'all': processes.gather([processes.rank]),
        }
        processes.wait()
        (folder / f'facts.{processes.rank}').write_text(json.dumps(facts))


def fail_in_second(folder):
    with joined('cpu') as processes:
        if processes.rank == 1:
            raise ValueError('image 7 cannot be read')
        processes.average(torch.zeros(1))


def fail_while_waiting(folder):
    with joined('cpu') as processes:
        if processes.first:
            raise ValueError('the disk is full')
        processes.wait()


@pytest.fixture(scope='module')
def left(tmp_path_factory):
    """What two processes left after their steps."""
    folder = tmp_path_factory.mktemp('steps')
    codes = run_in_processes(steps, folder)
    errors = [path.read_text() for path in folder.glob('error.*')]
    assert codes == [0, 0], errors
    return folder


@pytest.mark.parametrize('family', FAMILIES)
def test_two_processes_learn_what_one_learns_from_the_joint_batch(left, family):
    alone = step(family, ALONE)
    first, second = (torch.load(left / f'{family}.{rank}') for rank in range(2))
    assert set(alone) == set(first) == set(second)
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        limit = 1e-9 * float(value.abs().max()) if value.is_floating_point() else 0
        assert float((first[name] - value).abs().max()) <= limit, name
    refinements = [n for n in alone if n.startswith('gradient.') and '.refinement.' in n]
    assert any(alone[name].abs().max() > 0 for name in refinements)


@pytest.mark.parametrize('family', FAMILIES)
def test_process_without_targets_takes_part(left, family):
    first, second = (torch.load(left / f'{family}.uneven.{rank}') for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(value.isfinite().all() for value in first.values())


def test_images_of_one_process_are_not_enough(left):
    # what the joint batch gives differs from the share of either process
    first = torch.load(left / 'yolov12.0')
    part = freeze_statistics(small_detector('yolov12')).double()
    any_depth_step(
        part,
        one_image(small_batch(), 0),
        build_optimizer(part, OptimizerSettings(rate=0.01, momentum=0.0)),
        build_objective('yolov12', None, 3),
        StepSettings(clip_norm=1e9),
    )
    differing = [n for n, p in part.named_parameters() if not torch.allclose(first[n], p)]
    assert differing


def test_loss_that_is_not_finite_in_one_process_stops_all_with_one_sentence(left):
    first, second = (json.loads((left / f'facts.{rank}').read_text()) for rank in range(2))
    assert first == second
    assert first['message'].startswith('the full pass gave a loss that is not finite')
    assert first['unchanged'] and first['updates'] == 0


def test_processes_agree(left):
    facts = json.loads((left / 'facts.0').read_text())
    assert (facts['mean'], facts['any'], facts['none']) == (0.5, True, False)
    assert facts['all'] == [[0], [1]]


@pytest.mark.parametrize('work', [fail_in_second, fail_while_waiting])
def test_failing_process_ends_the_others(tmp_path, work):
    started = time.monotonic()
    assert run_in_processes(work, tmp_path) == [1, 1]
    assert time.monotonic() - started < 60
    errors = [(tmp_path / f'error.{rank}').read_text() for rank in range(2)]
    assert sum('ValueError' in error for error in errors) == 1


@pytest.mark.slow
def test_torchrun_trains_and_only_the_first_process_writes(data):
    command = (
        '-m torch.distributed.run --standalone --nproc-per-node 2 -m anydepth_core.cli train '
        f'{data}/recipe.yaml --data {data} --output {data}/out --device cpu'
    )
    ended = subprocess.run(
        [sys.executable, *command.split()],
        env=os.environ | {'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'lo'},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count('full: AP') == 1
    assert ended.stderr.count('epoch 2: full_total') == 1
    with (data / 'out' / 'metrics.csv').open(newline='') as file:
        assert [row['epoch'] for row in csv.DictReader(file)] == ['0', '1']
    averaged = load_checkpoint(data / 'out' / 'last.safetensors').state_dict()
    assert all(value.isfinite().all() for value in averaged.values())


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    with joined('cpu') as processes:
        assert processes == Processes(device=torch.device('cpu')) == ALONE
        assert processes.first and processes.parallel(torch.nn.Linear(1, 1)) is None


def test_numbered_gpu_is_refused_for_several_processes(monkeypatch):
    for name, value in (('WORLD_SIZE', '2'), ('RANK', '0'), ('LOCAL_RANK', '0')):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match='the device is cuda:1, but there are several processes'):
        with joined('cuda:1'):
            pass


def test_more_processes_than_gpus_are_refused(monkeypatch):
    for name, value in (('WORLD_SIZE', '2'), ('RANK', '1'), ('LOCAL_RANK', '99')):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match='process 99 of this machine has no GPU'):
        with joined('cuda'):
            pass

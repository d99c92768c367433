"""Several processes: equal to one with the joint batch, and none is left waiting."""

from __future__ import annotations

import csv
from dataclasses import replace
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import load_checkpoint
from anydepth_core.data.loader import Batch
from anydepth_core.models.rtdetr.denoising import draw_denoising_queries
from anydepth_core.models.rtdetr.objective import ground_truth, RtDetrObjective
from anydepth_core.train.distributed import ALONE, joined, Processes
from anydepth_core.train.ema import Ema
from anydepth_core.train.families import build_objective
from anydepth_core.train.optim import build_optimizer, OptimizerSettings
from anydepth_core.train.step import any_depth_step, StepSettings
from anydepth_core.train.views import draw_views
from tests.anydepth_core.support.processes import run_in_processes
from tests.anydepth_core.support.small_batch import (
    FAMILIES,
    one_image,
    small_batch,
    small_detector,
)

OPTIMIZERS = {
    'yolov12': OptimizerSettings(rate=0.01, momentum=0.9),
    'rtdetr': OptimizerSettings(name='adamw', rate=1e-3, momentum=0.9),
}
BETWEEN = {'yolov12': '0110-1010', 'rtdetr': '0110-1'}


def detector_of(name):
    if name in FAMILIES:
        return small_detector(name).double()
    torch.manual_seed(0)
    detector = build_detector(name, num_classes=3).train()
    for parameter_name, parameter in detector.named_parameters():
        if 'bbox_head' in parameter_name:  # fresh ones give every query its anchor
            torch.nn.init.normal_(parameter, std=0.1)
    return detector.double()


def joint_batch(number):
    """Four images with 1, 2, 2 and no targets."""
    generator = torch.Generator().manual_seed(number)
    pixels = (torch.rand(4, 3, 64, 64, generator=generator) * 255).byte()
    places = torch.rand(5, 2, generator=generator) * 30
    sides = torch.rand(5, 2, generator=generator) * 28 + 5
    boxes = torch.cat((places, places + sides), 1)
    labels = torch.randint(3, (5,), generator=generator)
    return Batch(pixels, torch.tensor([0, 1, 1, 2, 2]), labels, boxes)


def share_of(batch, processes):
    """Images of this process, with their targets."""
    count = len(batch) // processes.count
    first = processes.rank * count
    mine = (batch.image_index >= first) & (batch.image_index < first + count)
    return Batch(
        batch.images[first : first + count],
        batch.image_index[mine] - first,
        batch.labels[mine],
        batch.boxes_xyxy_px[mine],
    )


def let_all_draw_the_same_noise(objective, joint, processes):
    """Each process draws the denoising queries of all images and keeps those of its own."""
    queries = [
        draw_denoising_queries(
            ground_truth(batch), 3, objective.settings.denoising, objective.generator
        )
        for batch in joint
    ]
    prepare = RtDetrObjective.prepare

    def prepare_own(batch):
        drawn, count = queries.pop(0), len(batch)
        rows = slice(processes.rank * count, (processes.rank + 1) * count)
        own = replace(
            drawn,
            labels=drawn.labels[rows],
            boxes_logit=drawn.boxes_logit[rows],
            positives=drawn.positives[rows],
        )
        return replace(prepare(objective, batch), denoising=own)

    objective.prepare = prepare_own


def three_steps(name, processes, share=None):
    """Weights and buffers after three steps of float64; the second adds up two batches."""
    share = share or processes
    detector = detector_of(name)
    family = detector.family
    objective = build_objective(family, None, 3, 0, processes)
    optimizer = build_optimizer(detector, OPTIMIZERS[family])
    parallel = processes.parallel(detector)
    for step, (depth, count) in enumerate((('base', 1), ('base', 2), (BETWEEN[family], 1))):
        joint = [joint_batch(10 * step + number) for number in range(count)]

        def seen(batches, step=step):
            generator = torch.Generator().manual_seed(step)
            return draw_views(batches, (64, 96), True, generator, processes.device)

        if family == 'rtdetr':
            objective.generator.manual_seed(step)
            let_all_draw_the_same_noise(objective, [full for full, _ in seen(joint)], share)
        any_depth_step(
            detector,
            seen([share_of(batch, share) for batch in joint]),
            optimizer,
            objective,
            StepSettings(clip_norm=1.0),
            parallel=parallel,
            processes=processes,
            base_depth=depth,
        )
    return detector.state_dict()


def require_equal(name, folder):
    """Compare what two processes left with what one learns from the joint batch."""
    fresh, alone = detector_of(name).state_dict(), three_steps(name, ALONE)
    first, second = (torch.load(folder / f'{name}.{rank}') for rank in range(2))
    assert set(alone) == set(first) == set(second)
    for key, value in alone.items():
        assert torch.equal(first[key], second[key]), key
        assert float((first[key] - value).abs().max()) <= 1e-6, key
    changed = [key for key in alone if (alone[key] - fresh[key]).abs().max() > 1e-4]
    for part in ('.refinement.', 'norm_base.weight', 'running_mean', 'running_var', 'head'):
        assert any(part in key for key in changed), part


def uneven_steps(family, processes):
    """Weights after two steps; in the first one the last process has no targets."""
    detector = small_detector(family)
    objective = build_objective(family, None, 3, 0, processes)
    optimizer = build_optimizer(detector, OptimizerSettings(name='adamw', rate=1e-3))
    parallel = processes.parallel(detector)
    for targets in (1, 3):
        any_depth_step(
            detector,
            [(one_image(small_batch(targets), processes.rank), None)],
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
            [(batch, None)],
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
            torch.save(three_steps(family, processes), folder / f'{family}.{processes.rank}')
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


def r18_steps(folder):
    with joined('cpu') as processes:
        state = three_steps('rtdetr_r18', processes)
        torch.save(state, folder / f'rtdetr_r18.{processes.rank}')


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
    codes = run_in_processes(steps, folder, limit_s=280)
    errors = [path.read_text() for path in folder.glob('error.*')]
    assert codes == [0, 0], errors
    return folder


@pytest.mark.parametrize('family', FAMILIES)
def test_two_processes_learn_what_one_learns_from_the_joint_batch(left, family):
    require_equal(family, left)


@pytest.mark.slow
def test_two_processes_train_rtdetr_r18_as_one(tmp_path):
    assert run_in_processes(r18_steps, tmp_path, limit_s=280) == [0, 0]
    require_equal('rtdetr_r18', tmp_path)


@pytest.mark.parametrize('family', FAMILIES)
def test_process_without_targets_takes_part(left, family):
    first, second = (torch.load(left / f'{family}.uneven.{rank}') for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(value.isfinite().all() for value in first.values())


def test_images_of_one_process_are_not_enough(left):
    # what the joint batch gives differs from the share of either process
    joint = torch.load(left / 'yolov12.0')
    part = three_steps('yolov12', ALONE, share=Processes(0, 2))
    differing = [name for name in joint if (joint[name] - part[name]).abs().max() > 1e-4]
    assert any('running_var' in name for name in differing)
    assert any('conv.weight' in name for name in differing)


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
    # gloo, which has lost its peer, may abort the process that an error is ending
    assert set(run_in_processes(work, tmp_path)) <= {1, -signal.SIGABRT}
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
    assert len(re.findall(r'^ *2/2 ', ended.stderr, re.MULTILINE)) == 1
    assert 'Warning' not in ended.stderr
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

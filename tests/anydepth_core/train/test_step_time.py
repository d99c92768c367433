"""The tool that measures steps: what it runs and prints, not how long that takes."""

import json

import pytest
import torch

from tests.anydepth_core.support.processes import run_in_processes
from tests.anydepth_core.support.tools import load_tool

tool = load_tool('step_time')


def test_three_kinds_of_step_take_turns(monkeypatch, capsys, tmp_path):
    order = []

    def taker(name, batch, precision, device, passes='both', processes=None):
        return lambda: order.append(passes)

    def seconds(work, device):
        work()
        return {'both': 1.8, 'full': 1.2, 'base': 0.8}[order[-1]]

    monkeypatch.setattr(tool, 'step_taker', taker)
    monkeypatch.setattr(tool, 'seconds', seconds)
    file = tmp_path / 'step.json'
    tool.main(['anydepth_yolov12n:64', '--rounds', '4', '--device', 'cpu', '--json', str(file)])
    assert len(order) == 3 * (4 + tool.WARM_UP)
    assert all(order.count(kind) == len(order) // 3 for kind in ('both', 'full', 'base'))
    assert len({tuple(order[i : i + 3]) for i in range(0, len(order), 3)}) == 3
    (found,) = json.loads(file.read_text())
    assert found['ratio'] == pytest.approx(0.9)
    assert (found['model'], found['size']) == ('anydepth_yolov12n', 64)
    assert 'anydepth_yolov12n @ 64, 8 images' in capsys.readouterr().out


def test_steps_are_real(monkeypatch):
    taken = {}
    monkeypatch.setattr(tool, 'any_depth_step', lambda *args, **_: taken.update(args=args))
    batch = tool.random_batch(2, 64)
    for passes in ('both', 'full'):
        tool.step_taker('anydepth_yolov12n', batch, 'bfloat16', torch.device('cpu'), passes)()
        detector, batches, _, _, settings, _, ema = taken['args']
        assert detector.training and not ema.module.training
        assert (settings.passes, settings.autocast) == (passes, torch.bfloat16)
        assert batches == [(batch, None)]
    boxes = batch.boxes_xyxy_px
    assert len(boxes) == 2 * tool.OBJECTS and (boxes[:, 2:] >= boxes[:, :2]).all()


def two_processes(folder):
    tool.WARM_UP = 0
    file = folder / 'scaling.json'
    tool.main(f'anydepth_yolov12n:32 --batch 2 --rounds 1 --device cpu --json {file}'.split())


@pytest.mark.slow
def test_several_processes_measure_how_training_scales(tmp_path):
    assert run_in_processes(two_processes, tmp_path, limit_s=280) == [0, 0]
    (found,) = json.loads((tmp_path / 'scaling.json').read_text())
    assert found['processes'] == 2 and found['images_per_s_alone'] > 0
    expected = found['images_per_s_together'] / found['images_per_s_alone']
    assert found['throughput_ratio'] == pytest.approx(expected)

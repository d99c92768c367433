"""The tool that measures levels on a GPU, as far as it goes without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.anydepth_core.support.tools import load_tool

tool = load_tool('gpu_levels')


class _Operators(TorchDispatchMode):
    """Collects the names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_levels_take_turns_and_warm_up_is_not_counted() -> None:
    order: list[int] = []

    def runner(level: int):
        def run() -> float:
            order.append(level)
            return float(len(order))

        return run

    times = tool.measure_levels([runner(0), runner(1)], 2)
    assert order[-4:] in ([1, 0, 0, 1], [0, 1, 1, 0])
    assert sorted(times[0].tolist() + times[1].tolist()) == [21.0, 22.0, 23.0, 24.0]


def test_a_dear_switch_is_seen_and_told_from_noise() -> None:
    previous: list[int] = [0]

    def runner(level: int):
        def run() -> float:
            switched, previous[0] = previous[0] != level, level
            return 2.0 if switched else 1.0

        return run

    assert tool.measure_switches([runner(0), runner(1)], 3) == [
        {'switched': 2.0, 'not_switched': 1.0}
    ]


@pytest.mark.parametrize(
    ('device', 'expected'),
    [('NVIDIA H200', 'nvidia_h200'), ('Orin (nvgpu)', 'orin_nvgpu'), ('cpu', 'cpu')],
)
def test_the_file_is_named_after_the_device(device: str, expected: str) -> None:
    assert tool.slug(device) == expected


def test_the_flow_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ['--device', 'cpu', '--models', 'anydepth_yolov12n', '--size', '64']
    assert tool.main([*arguments, '--rounds', '1', '--output', str(tmp_path)]) == 0
    document = json.loads((tmp_path / 'gpu_cpu.json').read_text())
    assert [level['depth'] for level in document['models'][0]['levels']] == [
        '1111-1111',
        '1111-0000',
        '0000-1111',
        '0000-0000',
    ]
    assert document['torch'] == torch.__version__ and document['date'] and document['command']
    assert capsys.readouterr().out.count('\n') == 6


def test_the_table_states_shared_memory() -> None:
    level = {'depth': 'full', 'p50_ms': 1.0, 'p95_ms': 1.0, 'ratio_to_full': 1.0}
    memory = {'one_level': 1000, 'all_levels': 1250}
    result = {'model': 'toy', 'levels': [level], 'switches': [], 'memory_bytes': memory}
    assert tool.table([result]).splitlines()[-1].endswith('| 1.250 |')


@pytest.mark.parametrize('name', ['anydepth_yolov12n', 'rtdetr_r18'])
def test_nothing_in_a_level_waits_for_the_device_or_copies_from_the_host(name: str) -> None:
    detector = tool.to_half(tool.random_detector(name), 'cpu')
    images = torch.rand(1, 3, 64, 64)
    for depth in (detector.depth_space.full, detector.depth_space.base):
        with _Operators() as operators:
            tool.forward(detector, images, depth)
        # a CUDA graph cannot be recorded with any of these
        forbidden = {'_local_scalar_dense', 'nonzero', 'masked_select', 'lift_fresh', 'unique'}
        assert operators.names and not operators.names & forbidden


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 1
    assert 'use --device cpu' in capsys.readouterr().err

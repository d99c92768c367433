"""Levels as CUDA graphs in torch, a stand-in for engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from anydepth_core.evaluation.torch_predict import detector_of_bundle
from anydepth_core.export.bundle import load_bundle
from tests.anydepth_core.support.tools import load_tool

tool = load_tool('gpu_levels')


@pytest.mark.parametrize('name', ['default bundle', 'rtdetr_r18'])
def test_a_graph_gives_what_its_level_gives_whatever_ran_before(name: str) -> None:
    trained = name == 'default bundle'  # random YOLO finds the same at every depth
    detector = detector_of_bundle(load_bundle()) if trained else tool.random_detector(name)
    detector = tool.to_half(detector, 'cuda')
    depths = [detector.depth_space.base, detector.depth_space.full]
    levels = tool.GraphLevels(detector, depths, 320)
    # Sorted, because queries of nearly equal score may change places.
    expected = [
        tool.forward(detector, levels.images, depth)['scores'].flatten().sort()[0]
        for depth in depths
    ]
    assert not torch.equal(*expected)
    for level in (0, 1, 1, 0):
        for outputs in levels.outputs:
            outputs['scores'].zero_()
        levels.run(level)
        found = levels.outputs[level]['scores'].flatten().sort()[0]
        torch.testing.assert_close(found, expected[level], rtol=0.01, atol=0.001)


def test_further_levels_take_less_memory_than_their_weights() -> None:
    detector = tool.to_half(tool.random_detector('anydepth_yolov12l'), 'cuda')
    weights = sum(weight.numel() * weight.element_size() for weight in detector.parameters())
    space = detector.depth_space
    memory = tool.GraphLevels(detector, [space.full, space.base], 640).memory
    assert memory[-1] - memory[1] < weights


def test_the_command_measures_every_level(tmp_path: Path) -> None:
    arguments = ['--models', 'anydepth_yolov12n', '--rounds', '20', '--output', str(tmp_path)]
    assert tool.main(arguments) == 0
    (path,) = tmp_path.glob('gpu_*.json')
    document = json.loads(path.read_text())
    (result,) = document['models']
    assert document['driver'] and len(result['levels']) == 4 and len(result['switches']) == 3
    assert result['memory_bytes']['all_levels'] >= result['memory_bytes']['one_level']

"""``anydepth bundle``: what is in a bundle, and whether every level of it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import numpy_helper
import pytest

from anydepth_core import cli
from anydepth_core.export.bundle import Bundle
from tests.anydepth_core.support.bundle_files import replace_file
from tests.anydepth_core.support.toy_bundle import toy_master, write_toy_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / 'toy')


def test_show_lists_classes_ladder_and_files(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle.path / 'README.md').write_text('model card')
    assert cli.main(['bundle', 'show', str(bundle.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f'toy (orig), {bundle.path}',
        '3 classes: red, green, blue',
        'input 96x96 (letterbox), overlapping boxes: class_nms',
    ]
    assert [line.split() for line in lines[3:7]] == [
        ['level', 'depth', 'size', 'AP', 'AP50', 'multiply-adds'],
        ['0', '00-0', '64x64', '0.200', '-', '-'],
        ['1', '00-0', '96x96', '0.300', '-', '-'],
        ['2', '11-1', '96x96', '0.400', '-', '-'],
    ]
    assert [line.split(':')[0] for line in lines[7:]] == [
        'README.md',
        'bundle.yaml',
        'labels.txt',
        'master.onnx',
    ]
    assert [line.endswith(', unused') for line in lines[7:]] == [True, False, False, False]


def test_verify_runs_every_level(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['bundle', 'verify', str(bundle.path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        'level 0: 00-0@64x64 runs',
        'level 1: 00-0@96x96 runs',
        'level 2: 11-1@96x96 runs',
        f'{bundle.path} is sound',
    ]


def test_verify_refuses_a_changed_file(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle.path / 'labels.txt').write_text('a\nb\nc\n')
    assert cli.main(['bundle', 'verify', str(bundle.path)]) == 1
    assert 'labels.txt has the wrong SHA-256' in capsys.readouterr().err


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_verify_refuses_weights_that_are_no_numbers(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    model = toy_master()
    for tensor in model.graph.initializer:
        if tensor.name.endswith('essential.weight'):
            array = np.full_like(numpy_helper.to_array(tensor), value)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert cli.main(['bundle', 'verify', str(bundle.path)]) == 1
    error = capsys.readouterr().err
    assert '00-0@64x64 is not sound' in error and 'export the bundle again' in error


def test_verify_refuses_a_master_that_does_not_run(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    model = toy_master()
    node = next(node for node in model.graph.node if node.op_type == 'AveragePool')
    node.op_type = 'NoSuchOperator'
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert cli.main(['bundle', 'verify', str(bundle.path)]) == 1
    assert '00-0@64x64 is not sound' in capsys.readouterr().err


def test_an_action_is_needed(bundle: Bundle) -> None:
    with pytest.raises(SystemExit):
        cli.main(['bundle', str(bundle.path)])

from __future__ import annotations

import re
import sys

import pytest

from anydepth_core.cli import main
from anydepth_core.commands.build import build_engines
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour
from tests.anydepth_core.runtime.tensorrt.support import COMMAND, NO_BUILDER, Rig
from tests.anydepth_core.support.toy_bundle import LADDER, write_toy_bundle


@pytest.fixture
def rig(tmp_path, monkeypatch):
    rig = Rig(write_toy_bundle(tmp_path / 'toy'), tmp_path / 'engines')
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    return rig


def build(rig, command):
    build_engines(
        rig.bundle, rig.settings, LADDER[:2], None, rig.trt(), rig.cudart, command=command
    )


def test_engines_are_built_with_progress_and_a_table_then_taken_from_the_cache(rig, capsys):
    build(rig, COMMAND)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Fake Orin, TensorRT 10.3.0, CUDA 12.6'
    assert lines[1] == 'engine 1 of 2' and 'is built' in ''.join(lines)
    assert [line.split()[:3] for line in lines[-2:]] == [
        ['0', '00-0@64x64', 'fp16'],
        ['1', '00-0@96x96', 'fp16'],
    ]
    assert all('detections agree' in line for line in lines[-2:])
    build(rig, NO_BUILDER)
    assert capsys.readouterr().out.splitlines()[-3:] == lines[-3:]


def test_preprocessing_of_a_camera_is_built_once_for_each_input_size(rig, capsys):
    build_engines(
        rig.bundle,
        rig.settings,
        LADDER,
        None,
        rig.trt(),
        rig.cudart,
        command=COMMAND,
        camera_size=(120, 160),
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[-2:]] == [
        ['-', 'letterbox', '120x160@64x64'],
        ['-', 'letterbox', '120x160@96x96'],
    ]
    assert all('pixels differ by 0.0 of 255 at most' in line for line in lines[-2:])


def test_an_engine_that_cannot_be_built_ends_the_command(rig, monkeypatch):
    rig.behaviour = Behaviour(parse_error='no such operator')
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    with pytest.raises(RuntimeError, match='cannot parse 00-0@64x64 fp16: no such operator'):
        build(rig, COMMAND)


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ([], 'TensorRT.*JetPack.*python3-libnvinfer'),
        (['--levels', '9'], 'levels 0'),
        (['--device', '-1'], 'device -1 is not legal'),
        (['--workspace', '0'], 'workspace_mb 0 is not legal'),
        (['--camera-size', '640'], '--camera-size 640 is not legal: give height and width'),
        (['--camera-size', '0x640'], '--camera-size 0x640 is not legal'),
        (['--images', '/no/such/place'], 'does not exist'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(rig, capsys, monkeypatch, arguments, text):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    assert main(['build', str(rig.bundle.path), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert re.search(text, error)

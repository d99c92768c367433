"""Devices by name: what there is, or one sentence about what is missing."""

from pathlib import Path
import re

import pytest
import torch

from anydepth_core import cli
from anydepth_core.nn.device import torch_device

RECIPES = Path(__file__).parents[3] / 'config' / 'recipes'


def test_the_processor_is_always_there():
    assert torch_device('cpu') == torch.device('cpu')


def test_without_a_name_it_is_the_gpu_where_there_is_one(monkeypatch):
    for there, expected in ((False, 'cpu'), (True, 'cuda')):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda there=there: there)
        assert torch_device() == torch.device(expected)


@pytest.mark.parametrize('name', ['gpu', 'cuda:99', 'xpu', '', 'cpu:x'])
def test_what_is_not_there_is_refused_with_what_is(name):
    with pytest.raises(ValueError, match=rf'cannot use the device {re.escape(name)} \(.+cpu'):
        torch_device(name)


@pytest.mark.parametrize('command', ['train', 'calibrate'])
def test_commands_refuse_it_with_one_sentence(command, tmp_path, capsys):
    words = {
        'train': [str(RECIPES / 'fod_a_n.yaml'), '--data', str(tmp_path)],
        'calibrate': ['default', '--data', str(tmp_path / 'a.json'), '--images', str(tmp_path)],
    }[command]
    output = ['--output', str(tmp_path / 'out'), '--device', 'cuda:99']
    assert cli.main([command, *words, *output]) != 0
    assert 'cannot use the device cuda:99' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()

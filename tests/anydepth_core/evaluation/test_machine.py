from __future__ import annotations

import platform

import pytest

from anydepth_core.evaluation.machine import device_name, this_machine
from tests.anydepth_core.sensing.fake_device import write


@pytest.mark.parametrize(
    ('files', 'name'),
    [
        ({'proc/device-tree/model': b'NVIDIA Jetson Orin Nano\0'}, 'NVIDIA Jetson Orin Nano'),
        ({'proc/cpuinfo': 'processor\t: 0\nmodel name\t: A Fast One\n'}, 'A Fast One'),
        ({'proc/device-tree/model': b'\0', 'proc/cpuinfo': 'model name : Other'}, 'Other'),
        ({'proc/cpuinfo': 'processor\t: 0\n'}, platform.machine()),
        ({}, platform.machine()),
    ],
)
def test_the_board_is_named_else_the_processor_else_its_architecture(files, name, tmp_path):
    for path, content in files.items():
        write(tmp_path, path, content)
    assert device_name(tmp_path) == name


def test_versions_are_of_what_is_installed():
    machine = this_machine('a GPU')
    assert machine.accelerator == 'a GPU' and machine.processors >= 1
    assert machine.versions['python'] == platform.python_version()
    assert 'numpy' in machine.versions

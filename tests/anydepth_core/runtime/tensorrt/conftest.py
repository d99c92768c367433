from __future__ import annotations

import pytest

from tests.anydepth_core.runtime.tensorrt.support import Rig
from tests.anydepth_core.support.toy_bundle import write_toy_bundle


@pytest.fixture(scope='session')
def toy_bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp('tensorrt') / 'toy')


@pytest.fixture
def rig(toy_bundle, tmp_path):
    return Rig(toy_bundle, tmp_path / 'engines')

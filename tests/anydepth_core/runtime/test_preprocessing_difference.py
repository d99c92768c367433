"""The tool that says what preprocessing as a graph changes."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from tests.anydepth_core.support.tools import load_tool
from tests.anydepth_core.support.toy_bundle import LADDER, write_toy_bundle


def test_every_level_is_compared(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys):
    bundle = write_toy_bundle(tmp_path / 'toy')
    (tmp_path / 'images').mkdir()
    for number, shape in enumerate(((130, 190), (96, 96))):
        image = np.zeros((*shape, 3), np.uint8)
        image[..., number] = 255
        cv2.imwrite(str(tmp_path / 'images' / f'{number}.png'), image)
    words = ['preprocessing_difference', str(bundle.path), str(tmp_path / 'images')]
    monkeypatch.setattr(sys, 'argv', words)
    load_tool('preprocessing_difference').main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(LADDER)
    assert all('CPU and graph, 2 images: ' in line for line in lines)
    assert all('boxes within 0.00' in line and ' 0 unmatched' in line for line in lines)
    assert not any(': 0 matched' in line for line in lines)

"""What ``ladder.png`` shows of times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anydepth_core.evaluation import ladder_picture
from anydepth_core.evaluation.ladder_picture import Dot, draw, Picture


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    pytest.importorskip('matplotlib', reason='the pictures are drawn')
    figures: list[Any] = []
    monkeypatch.setattr(ladder_picture, 'save', lambda figure, path: figures.append(figure))
    return figures


def test_times_are_relative_to_the_cheapest_level(drawn: list[Any], tmp_path: Path) -> None:
    ladder = [Dot(0.3, 1.0, 8.0, 'base'), Dot(0.4, 2.0, 12.0, 'full')]
    peers = {'other': [Dot(0.35, None, 16.0), Dot(0.2, 3.0)]}
    draw(Picture([*ladder, Dot(0.1, 1.5)], ladder, peers=peers), tmp_path / 'a.png')
    costs, times = (
        {line.get_label(): list(line.get_xdata()) for line in axis.lines} for axis in drawn[0].axes
    )
    assert costs == {'operating point': [1.0, 2.0, 1.5], 'ladder': [1.0, 2.0], 'other': [3.0]}
    assert times == {'operating point': [1.0, 1.5], 'ladder': [1.0, 1.5], 'other': [2.0]}


def test_without_times_there_is_one_row(drawn: list[Any], tmp_path: Path) -> None:
    draw(Picture([Dot(0.3, 1.0)], [Dot(0.3, 1.0)]), tmp_path / 'a.png')
    assert len(drawn[0].axes) == 1

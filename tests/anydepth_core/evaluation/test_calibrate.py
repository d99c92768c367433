"""The search measures what it is told to, and re-estimated norms must earn their place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.evaluation.calibrate import choose_norms, LEAST_GAIN, Search
from anydepth_core.evaluation.ladder_search import Measured

SPACE = DepthSpace(('a', 'b', 'c'), 2)
SIZES = ((64, 64), (32, 32))


class FakeBench:
    """AP rises with depth and size, by ``gain`` more than elsewhere."""

    def __init__(self, gain: float = 0.0) -> None:
        self.detector = SimpleNamespace(depth_space=SPACE)
        self.gain = gain
        self.asked: list[str] = []
        self.measured: list[Measured] = []

    def measure(self, depth: DepthConfig, size: tuple[int, int]) -> Measured:
        self.asked.append(f'{SPACE.format(depth)}@{size[0]}')
        bits = sum(depth.stages)
        ap = 0.1 + 0.03 * bits + 0.001 * size[0] + self.gain
        entry = Measured(OperatingPoint(depth, size), (2 + bits) * size[0] ** 2, ap)
        self.measured.append(entry)
        return entry


@pytest.mark.parametrize(
    ('gains', 'chosen'),
    [
        ({'trained': 0.0, 'base': -0.1, 'all': 0.1}, 'all'),
        ({'trained': 0.0, 'base': 2 * LEAST_GAIN, 'all': -0.1}, 'base'),
        ({'trained': 0.0, 'base': 0.9 * LEAST_GAIN, 'all': -0.1}, 'trained'),
        ({'trained': 0.0}, 'trained'),
    ],
)
def test_norms_stay_as_trained_unless_others_gain_clearly(
    gains: dict[str, float], chosen: str
) -> None:
    benches: Any = {name: FakeBench(gain) for name, gain in gains.items()}
    name, measured = choose_norms(benches, SIZES)
    assert name == chosen
    for bench in benches.values():
        assert bench.asked == ['11-1@64', '11-0@64', '00-1@64', '00-0@64', '11-1@32', '00-0@32']
    assert [len(points) for points in measured.values()] == [6] * len(gains)


def test_named_depths_are_the_only_candidates() -> None:
    bench: Any = FakeBench()
    bench.measure(SPACE.full, (64, 64))  # measured before, not asked for
    ladder = Search(SIZES, levels=5, depths=(SPACE.base, SPACE.parse('10-0'))).run(bench)
    assert {entry.point.depth for entry in ladder} == {SPACE.base, SPACE.parse('10-0')}
    assert ladder[0].point == OperatingPoint(SPACE.base, (32, 32))


def test_a_guided_search_tries_each_refinement_then_a_chain_at_every_size() -> None:
    bench: Any = FakeBench()
    Search(SIZES, levels=4).run(bench)
    assert bench.asked[:4] == ['11-1@64', '01-1@64', '10-1@64', '11-0@64']
    small = {name for name in bench.asked if name.endswith('@32')}
    assert {'11-1@32', '00-0@32', '11-0@32', '00-1@32'} < small
    assert len(small) < 8  # not every combination


def test_no_level_is_below_the_floor() -> None:
    bench: Any = FakeBench()
    ladder = Search(SIZES, levels=3, floor_ap=0.2).run(bench)
    assert min(entry.ap for entry in ladder) >= 0.2
    with pytest.raises(ValueError, match='no operating point reaches AP 0.9, the best has 0.254'):
        Search(SIZES, floor_ap=0.9).run(bench)

"""The search measures what it is told to, and norms of a point must earn their place."""

from __future__ import annotations

from collections.abc import Mapping
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.evaluation.calibrate import Bench, Key, LEAST_GAIN, Search, Size
from anydepth_core.evaluation.ladder_search import Measured
from anydepth_core.evaluation.size_and_class import Breakdown
from anydepth_core.export.point_norms import Norms
from tests.anydepth_core.support.toy_bundle import SPACE as TOY_SPACE
from tests.anydepth_core.support.toy_bundle import toy_master

SPACE = DepthSpace(('a', 'b', 'c'), 2)
SIZES = ((64, 64), (32, 32))
SIZE = (64, 64)
NAMES = ('AP', 'AP50', 'AR_100', 'AP_small', 'AP_medium', 'AP_large')


class FakeBench:
    """AP rises with depth and size."""

    def __init__(self) -> None:
        self.detector = SimpleNamespace(depth_space=SPACE)
        self.asked: list[str] = []
        self.measured: list[Measured] = []

    def measure(self, depth: DepthConfig, size: tuple[int, int]) -> Measured:
        self.asked.append(f'{SPACE.format(depth)}@{size[0]}')
        bits = sum(depth.stages)
        ap = 0.1 + 0.03 * bits + 0.001 * size[0]
        entry = Measured(OperatingPoint(depth, size), (2 + bits) * size[0] ** 2, ap)
        self.measured.append(entry)
        return entry


class Toy(nn.Module):
    """The depths of the toy master, and a norm whose mean AP depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.depth_space = TOY_SPACE
        self.mean: torch.Tensor
        self.register_buffer('mean', torch.zeros(1))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Key, float]]:
    """Let AP rise with depth and the mean of the norm; return what was asked for."""
    found: list[tuple[Key, float]] = []

    def accuracy(bench: Bench, detector: Any, depth: DepthConfig, size: Size) -> Breakdown:
        mean = detector.mean.item()
        found.append(((depth, size), mean))
        ap = 0.2 + 0.1 * sum(depth.stages) + mean
        return Breakdown(dict.fromkeys(NAMES, ap), ())

    monkeypatch.setattr(Bench, 'accuracy', accuracy)
    return found


def make_bench(gains: Mapping[DepthConfig, float] | None) -> Bench:
    """Return a bench whose own norms gain so much at each depth; None for no estimates."""

    def estimate(depth: DepthConfig, size: Size) -> Norms:
        assert gains is not None
        return {'mean': np.array([gains[depth]], np.float32)}

    toy: Any = Toy()
    dataset: Any = None
    return Bench(toy, toy_master(), dataset, None if gains is None else estimate)


def test_a_point_gets_its_own_norms_only_where_they_gain_clearly(
    asked: list[tuple[Key, float]],
) -> None:
    gains = {
        TOY_SPACE.base: 0.1,
        TOY_SPACE.parse('10-0'): 1.1 * LEAST_GAIN,
        TOY_SPACE.parse('11-0'): 0.9 * LEAST_GAIN,
        TOY_SPACE.parse('00-1'): -0.1,
        TOY_SPACE.parse('01-1'): math.nan,
        TOY_SPACE.full: 0.0,
    }
    bench = make_bench(gains)
    for depth, gain in gains.items():
        entry = bench.measure(depth, SIZE)
        trained = 0.2 + 0.1 * sum(depth.stages)
        own = gain >= LEAST_GAIN
        assert entry.ap == pytest.approx(trained + (gain if own else 0))
        assert dict(entry.point.metrics)['AP'] == round(entry.ap, 4)
        assert bench.of([entry])[0].statistics['AP'] == entry.ap
        assert bench.trained[depth, SIZE] == pytest.approx(trained)
        assert bench.own[depth, SIZE] == pytest.approx(trained + gain, nan_ok=True)
        assert ((depth, SIZE) in bench.norms) == own
    assert len(bench.norms) == 2 and len(bench.measured) == len(bench.trained) == len(gains)
    assert all(own['mean'] == np.float32(gains[key[0]]) for key, own in bench.norms.items())
    assert not bench.detector.get_buffer('mean')


def test_norms_stay_as_trained_without_an_estimate(asked: list[tuple[Key, float]]) -> None:
    bench = make_bench(None)
    entry = bench.measure(TOY_SPACE.full, SIZE)
    assert bench.norms == bench.own == {}
    assert bench.trained == {(TOY_SPACE.full, SIZE): entry.ap}
    assert asked == [((TOY_SPACE.full, SIZE), 0.0)]


def test_a_point_is_measured_once_with_each_of_its_norms(asked: list[tuple[Key, float]]) -> None:
    bench = make_bench({TOY_SPACE.base: 0.5, TOY_SPACE.full: 0.0})
    entry = bench.measure(TOY_SPACE.base, SIZE)
    assert bench.measure(TOY_SPACE.base, SIZE) is entry
    bench.measure(TOY_SPACE.base, (96, 96))
    keys = [(TOY_SPACE.base, SIZE), (TOY_SPACE.base, (96, 96))]
    assert asked == [(key, mean) for key in keys for mean in (0.0, 0.5)]
    assert list(bench.norms) == keys and bench.measured[0] is entry
    assert bench.measured[0].cost < bench.measured[1].cost


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

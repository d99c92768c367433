"""A profile to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from anydepth_core.control.assumed import assumed_profile
from anydepth_core.export.bundle import load_bundle
from tests.anydepth_core.support.toy_bundle import write_toy_bundle


def test_latencies_are_in_proportion_to_the_counted_work() -> None:
    bundle = load_bundle('default')
    counted = [dict(point.metrics)['multiply_adds'] for point in bundle.ladder.points]
    profile = assumed_profile(bundle)
    assert [level.latency_ms / 100.0 for level in profile.levels] == pytest.approx(
        [one / max(counted) for one in counted]
    )
    assert [level.ap for level in profile.levels] == [
        dict(point.metrics)['AP'] for point in bundle.ladder.points
    ]


def test_a_bundle_without_counts_still_has_rising_costs(tmp_path: Path) -> None:
    profile = assumed_profile(write_toy_bundle(tmp_path / 'toy'))
    latencies = [level.latency_ms for level in profile.levels]
    assert latencies == sorted(latencies) and latencies[-1] == 100.0
    assert len(set(latencies)) == 3

from __future__ import annotations

import pytest

from anydepth_core.evaluation.latency import Latency, measure_interleaved
from anydepth_core.structures import Timing


def test_candidates_take_turns_in_alternating_order_after_warm_up():
    calls = []

    def candidate(name):
        return lambda: calls.append(name) or Timing(1.0, 2.0, 3.0)

    rounds = []
    found = measure_interleaved(
        [candidate('a'), candidate('b')],
        rounds=3,
        warm_up=2,
        progress=lambda: rounds.append(len(calls)),
    )
    assert ''.join(calls) == 'abbaabbaab'
    assert rounds == [6, 8, 10]
    assert [len(latency.timings) for latency in found] == [3, 3]


def test_each_candidate_keeps_its_own_times_and_warm_up_is_not_counted():
    slow = iter([100.0, 4.0, 6.0, 8.0])
    fast = iter([100.0, 2.0, 2.0, 2.0])
    found = measure_interleaved(
        [lambda: Timing(0.0, next(slow), 1.0), lambda: Timing(0.0, next(fast), 0.5)],
        rounds=3,
        warm_up=1,
    )
    assert found[0].values('inference_ms').tolist() == [4, 6, 8]
    assert found[0].percentile('inference_ms', 50) == 6
    assert found[0].percentile('total_ms', 100) == 9
    assert found[0].ratio_to(found[1]) == 3


def test_the_ratio_compares_times_of_the_same_round():
    disturbed = Latency(tuple(Timing(0, time, 0) for time in (3.0, 30.0, 3.0)))
    base = Latency(tuple(Timing(0, time, 0) for time in (2.0, 20.0, 2.0)))
    assert disturbed.ratio_to(base) == 1.5


@pytest.mark.parametrize('wrong', [{'candidates': []}, {'rounds': 0}, {'warm_up': -1}])
def test_nothing_to_measure_is_refused(wrong):
    arguments = {'candidates': [lambda: Timing(1, 1, 1)], 'rounds': 1, 'warm_up': 0, **wrong}
    with pytest.raises(ValueError, match='cannot be measured'):
        measure_interleaved(**arguments)

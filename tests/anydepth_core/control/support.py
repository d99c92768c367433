"""A small ladder and a loop to drive the law with."""

from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.signals import Signals

LATENCIES_MS = (20.0, 25.0, 30.0, 36.0, 42.0)


def profile(latencies_ms=LATENCIES_MS, tail=1.1):
    """Give a ladder with these medians."""
    return Profile(
        tuple(
            LevelProfile(str(index), latency, latency * tail, 0.01 * latency, 0.4 + 0.01 * index)
            for index, latency in enumerate(latencies_ms)
        )
    )


def frames(controller, count, scale=1.0, start_s=0.0, level=None, **signals):
    """Run frames of the ladder's own latency and give the decisions."""
    decisions, time_s = [], start_s
    level = controller.decide(Signals(time_s, **signals)).level if level is None else level
    for _ in range(count):
        latency_ms = LATENCIES_MS[level] * scale
        time_s += latency_ms / 1000
        decisions.append(controller.decide(Signals(time_s, latency_ms, level, **signals)))
        level = decisions[-1].level
    return decisions

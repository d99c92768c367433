"""The pace of a camera: images at fixed moments, none made up for; no ROS."""

from __future__ import annotations

from collections.abc import Callable
import time


def next_slot(slot: int, elapsed_s: float, period_s: float) -> int:
    """Return the slot to send in after this one.

    A camera that was held up goes on with the newest slot that has begun; those before are left
    out, because a burst would be another load than the one asked for.
    """
    return max(slot + 1, int(elapsed_s / period_s))


def play(
    send: Callable[[], None],
    rate_hz: float,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``send`` at a rate for some time."""
    started, slot = clock(), 0
    while slot < round(rate_hz * seconds):
        early_s = started + slot / rate_hz - clock()
        if early_s > 0:
            sleep(early_s)
        send()
        slot = next_slot(slot, clock() - started, 1 / rate_hz)

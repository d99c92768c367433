"""Energy of frames, from the power that the machine reads off its own sensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
import time

from anydepth_core.sensing.sampler import sampler_of, SamplerSettings

_SETTINGS = SamplerSettings(period_s=0.2)
_SETTLE_S = 1.0
_REST_S = 0.1

ReadPower = Callable[[], 'float | None']
Clock = Callable[[], float]


@dataclass(frozen=True)
class Block:
    """Frames one after the other: energy in joules, length in seconds, how many."""

    energy_j: float
    seconds: float
    frames: int

    @property
    def power_w(self) -> float:
        """Mean power."""
        return self.energy_j / self.seconds

    def __add__(self, other: Block) -> Block:
        return Block(
            self.energy_j + other.energy_j,
            self.seconds + other.seconds,
            self.frames + other.frames,
        )


@dataclass(frozen=True)
class Energy:
    """Power and energy of one candidate.

    Attributes:
        power_w: mean power of the machine while it ran, frame after frame.
        frame_j: energy of one frame, the machine at rest included.
        above_idle_j: energy of one frame beyond the machine at rest.
    """

    power_w: float
    frame_j: float
    above_idle_j: float


def measure_energy(
    candidates: Sequence[Callable[[], object]], seconds: float, root: Path = Path('/')
) -> tuple[float, list[Energy]] | None:
    """Measure what frames take on a machine that reads its own power.

    That is the power of the whole module where there are rails, else what is drawn from the
    battery.

    Args:
        candidates: each call works on one frame.
        seconds: per candidate, and at rest before.
        root: the root of the file system, or of a copy of it.

    Returns:
        Power at rest in watts, and the energy of each candidate; None where the power cannot be
        read, or not all the time.
    """
    with sampler_of(root, _SETTINGS) as sampler:
        time.sleep(2 * _SETTINGS.period_s)
        return energy_of(candidates, seconds, lambda: sampler.newest().power_w)


def energy_of(
    candidates: Sequence[Callable[[], object]],
    seconds: float,
    read_power_w: ReadPower,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> tuple[float, list[Energy]] | None:
    """Measure as :func:`measure_energy` does, with any source of power and time.

    Candidates run in order and then once more in reverse, for half of their time each, so that a
    machine that grows warm disturbs all alike.
    """
    idle = _block(lambda: sleep(_REST_S), seconds, read_power_w, clock)
    if idle is None:
        return None
    sums = [Block(0.0, 0.0, 0) for _ in candidates]
    for index in (*range(len(candidates)), *reversed(range(len(candidates)))):
        settling = _block(candidates[index], min(_SETTLE_S, seconds), read_power_w, clock)
        block = _block(candidates[index], seconds / 2, read_power_w, clock)
        if settling is None or block is None:
            return None
        sums[index] += block
    return idle.power_w, [
        Energy(
            block.power_w,
            block.energy_j / block.frames,
            (block.energy_j - idle.power_w * block.seconds) / block.frames,
        )
        for block in sums
    ]


def _block(
    work: Callable[[], object], seconds: float, read_power_w: ReadPower, clock: Clock
) -> Block | None:
    """Work for so long, one frame at least; None if the power was unknown at any time."""
    if read_power_w() is None:
        return None
    start = now = clock()
    energy_j, frames = 0.0, 0
    while now - start < seconds or not frames:
        work()
        power_w, then, now = read_power_w(), now, clock()
        if power_w is None:
            return None
        energy_j += power_w * (now - then)
        frames += 1
    return Block(energy_j, now - start, frames)

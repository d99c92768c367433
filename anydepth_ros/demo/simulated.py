"""A simulated board that warms with the work it does, shown as files of sysfs; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anydepth_core.control.assumed import assumed_profile
from anydepth_core.control.plant import Thermal
from anydepth_core.export.bundle import Bundle
from anydepth_core.files import write_atomically
from anydepth_ros.demo.course import Part

ZONE = 'simulated board'
FOLDER = 'sys/class/thermal/thermal_zone0'

COOL_C, HOT_C = 14.0, 37.5
RISE_C = 60.0
"""Of the board over its surroundings, at rest at the dearest level."""
AMBIENT_C = ((0.0, COOL_C), (0.3, HOT_C), (0.68, HOT_C), (0.82, COOL_C))
"""The surroundings by the share of the part that has passed."""
TIME_CONSTANT = 1 / 7
"""Of the board, as a share of the part: it must answer within it."""


@dataclass(frozen=True)
class Climate:
    """Temperatures of one moment, in degrees Celsius.

    Attributes:
        time_s: when.
        ambient_c: of the surroundings.
        board_c: of the board, as the controller reads it.
        undriven_c: what the board would have if the dearest level ran all the time.
    """

    time_s: float
    ambient_c: float
    board_c: float
    undriven_c: float


class SimulatedBoard:
    """First-order heating by the level that is served, in surroundings that become hot."""

    def __init__(self, root: Path, work: Sequence[float], part: Part) -> None:
        """Start at rest, at the dearest level in cool surroundings.

        Args:
            root: directory that stands for ``/``.
            work: work of each ladder level as a share of the dearest, 0..1.
            part: the part of the demo in which it becomes hot.
        """
        self._folder = root / FOLDER
        self._work = work
        self._part = part
        self._thermal = Thermal(
            ambient_c=COOL_C,
            resistance_c_per_w=RISE_C,
            time_constant_s=TIME_CONSTANT * (part.end_s - part.start_s),
        )
        self._share = 1.0
        self._time_s = 0.0
        self._board_c = self._undriven_c = COOL_C + RISE_C
        (root / 'proc').symlink_to('/proc')  # its load is that of this machine
        write_atomically(self._folder / 'type', f'{ZONE}\n'.encode())
        self._write()

    def advance(self, time_s: float, level: int | None) -> Climate:
        """Go on to a moment, and show the temperature there.

        Args:
            time_s: seconds of the demo.
            level: that was served since the last call; None, a depth beside the ladder or no
                frame yet, warms as before.
        """
        if level is not None:
            self._share = self._work[level]
        seconds = max(time_s - self._time_s, 0.0)
        ambient_c = self.ambient_c(time_s)
        thermal = replace(self._thermal, ambient_c=ambient_c)
        self._board_c = thermal.after(self._board_c, self._share, seconds)
        self._undriven_c = thermal.after(self._undriven_c, 1.0, seconds)
        self._time_s = time_s
        self._write()
        return Climate(time_s, ambient_c, self._board_c, self._undriven_c)

    def ambient_c(self, time_s: float) -> float:
        """Return the temperature of the surroundings."""
        times = [self._part.at(share) for share, _ in AMBIENT_C]
        return float(np.interp(time_s, times, [celsius for _, celsius in AMBIENT_C]))

    def _write(self) -> None:
        millidegrees = round(1000 * self._board_c)
        write_atomically(self._folder / 'temp', f'{millidegrees}\n'.encode())


def work_of(bundle: Bundle) -> list[float]:
    """Return the counted work of each ladder level as a share of the dearest."""
    costs = [level.latency_ms for level in assumed_profile(bundle).levels]
    return [cost / max(costs) for cost in costs]

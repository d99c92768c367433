"""Ups and downs of the deadline law: what came of earlier changes limits the next ones."""

from __future__ import annotations

import math

from .settings import ControllerSettings

LATE_ENDS = 2
"""Late frames that end a trial."""
LONGEST_EXPLORE = 8


class Climb:
    """Corrects the level that is predicted to fit where predictions have proved wrong.

    A raise whose level had to be left at once is tried again only after a hold, which doubles with
    every failure. A fall that follows another was too short, and goes further. A level that was
    not served for long is tried now and then: its prediction is old.
    """

    def __init__(self, settings: ControllerSettings) -> None:
        self._settings = settings
        self._level: int | None = None
        self._asked = 0
        self._since_change_s = 0.0
        self._since_raise_s = self._since_fall_s = math.inf
        self._falls = 0
        self._raised = False  # and it is not known yet whether that was right
        self._trial: int | None = None
        self._trial_frames = self._trial_late = 0
        self.forgive()
        self.reason = ''
        """Why the last level given is not the one predicted to fit."""

    def forgive(self) -> None:
        """Forget failures: the machine has become faster."""
        self._blocked_s: dict[int, float] = {}
        self._hold_s: dict[int, float] = {}
        self._explore_s = self._settings.explore_s

    def observe(self, level: int, late: bool) -> None:
        """Take in one frame."""
        if level == self._trial:
            self._trial_frames += 1
            self._trial_late += late

    def limit(self, fitting: int, current: int, step_s: float, worth_a_try: bool) -> int:
        """Give the level to run.

        Args:
            fitting: highest level predicted to fit.
            current: level that runs now.
            step_s: seconds since the last call.
            worth_a_try: whether the level above the current one may be tried.
        """
        self._since_change_s += step_s
        self._since_raise_s += step_s
        self._since_fall_s += step_s
        self._blocked_s = {
            level: left_s - step_s for level, left_s in self._blocked_s.items() if left_s > step_s
        }
        self._note_change(current)
        if fitting < current or self._trial is not None:
            self._asked = self._downward(fitting, current)
        elif (
            fitting > current and (blocked := min(self._blocked_s, default=fitting + 1)) <= fitting
        ):
            self._asked = max(current, blocked - 1)
            self.reason = f'level {blocked} was too slow, {self._blocked_s[blocked]:.0f} s to wait'
        elif fitting == current and worth_a_try and self._since_change_s >= self._explore_s:
            self._trial, self._trial_frames, self._trial_late = current + 1, 0, 0
            self._asked = current + 1
            self.reason = f'a try, it was not measured for {self._since_change_s:.0f} s'
        else:
            self._asked = fitting
        return self._asked

    def _downward(self, fitting: int, current: int) -> int:
        if self._trial is not None:
            if self._goes_on(fitting, current):
                return self._trial
            self._end_trial(fitting)
        if fitting < current and self._since_fall_s < self._settings.fall_s:
            self.reason = f'the fall before did not help, {fitting} was predicted to fit'
            return max(min(fitting, current - 2**self._falls), 0)
        return fitting

    def _goes_on(self, fitting: int, current: int) -> bool:
        """Whether a trial still needs frames; it also ends when another authority steps in."""
        assert self._trial is not None
        waiting = current == self._trial - 1 == fitting and self._trial_frames == 0
        if not (waiting or current == self._trial) or fitting > self._trial:
            return False
        enough = self._trial_frames >= 2 * self._settings.latency_confirm
        return not enough and self._trial_late < LATE_ENDS

    def _end_trial(self, fitting: int) -> None:
        assert self._trial is not None
        longest_s = LONGEST_EXPLORE * self._settings.explore_s
        failed = fitting < self._trial
        self._explore_s = (
            min(2 * self._explore_s, longest_s) if failed else self._settings.explore_s
        )
        self._trial = None

    def _note_change(self, current: int) -> None:
        before, self._level = self._level, current
        if before is None:
            return
        if current > before:
            self._raised, self._since_raise_s = True, 0.0
        elif current < before and self._asked <= current:
            self._fell_from(before)
        elif self._raised and self._since_raise_s >= self._settings.raise_trial_s:
            self._raised = False
            self._hold_s = {one: hold_s for one, hold_s in self._hold_s.items() if one > current}
        if current != before:
            self._since_change_s = 0.0

    def _fell_from(self, level: int) -> None:
        again = self._since_fall_s < self._settings.fall_s
        self._falls = self._falls + 1 if again else 1
        self._since_fall_s = 0.0
        if self._raised and self._since_raise_s < self._settings.raise_trial_s:
            hold_s = self._hold_s.get(level, self._settings.raise_hold_s)
            self._blocked_s[level] = hold_s
            self._hold_s[level] = min(2 * hold_s, self._settings.raise_hold_max_s)
        self._raised = False

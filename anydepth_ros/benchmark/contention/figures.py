"""From rounds to the figures of the closed loop; plain Python and NumPy, no ROS.

Every frame belongs to the phase in which its detections were published, and is judged by what was
known then. A hog phase is *back under the deadline* with the frame that completes ``IN_A_ROW``
frames in a row within the deadline, counted from the first late frame on: somebody who only knows
the past can say so at that frame and no earlier. So the count includes these frames, and is never
below ``IN_A_ROW`` + 1 where any frame was late; where none was, the phase never left the deadline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anydepth_ros.benchmark.contention.series import (
    Answer,
    CALM_AGAIN,
    HOGS,
    OURS,
    PHASES,
    POLICIES,
    Round,
)
from anydepth_ros.benchmark.figures import Spread, spread

IN_A_ROW = 10
ROOM = 1.25  # of a derived deadline over the latencies that are to fit


@dataclass(frozen=True)
class Calibration:
    """Latencies in milliseconds from which a deadline is derived.

    Attributes:
        top_calm_p95_ms: of the top level without hogs, which is to fit.
        top_hogs_p50_ms: of the top level with hogs, which is not to fit.
        base_hogs_p95_ms: of level 0 with hogs, which is to fit, too: else there is no way back.
    """

    top_calm_p95_ms: float
    top_hogs_p50_ms: float
    base_hogs_p95_ms: float

    @property
    def deadline_ms(self) -> float:
        """The deadline: what is to fit does so with some room."""
        return round(ROOM * max(self.top_calm_p95_ms, self.base_hogs_p95_ms), 1)

    @property
    def bites(self) -> bool:
        """Whether the hogs drive most frames of the top level over the deadline."""
        return self.top_hogs_p50_ms > self.deadline_ms


@dataclass(frozen=True)
class PhaseFigures:
    """What a policy did in one phase, over all rounds.

    Attributes:
        policy, phase: which.
        sent: images the camera sent.
        left_out: those of them that were never answered.
        frames: images that were answered in the phase, also if they were sent before it.
        late: share of the answered frames over the deadline; None without frames.
        latency_ms: what the deadline is about.
        age_ms: age of the images when they were answered.
        levels: share of the frames at each level, by level; -1 for a depth beside the ladder.
        mean_ap: by the metrics of the ladder; None if a level that ran has none.
        changes_per_minute: level changes from one frame to the next.
    """

    policy: str
    phase: str
    sent: int
    left_out: int
    frames: int
    late: float | None
    latency_ms: Spread | None
    age_ms: Spread | None
    levels: Mapping[int, float]
    mean_ap: float | None
    changes_per_minute: float


@dataclass(frozen=True)
class Onset:
    """What followed the start of the hogs in one round.

    Milliseconds count from the start of the hogs, frames from the first that was published after
    it. None: it did not happen before the hogs were stopped.

    Attributes:
        policy, number: of which round.
        frames: frames published while there were hogs.
        first_late: number of the first late frame.
        first_late_ms: when it was published.
        lower_decided_ms: when the controller told the first level below the one before.
        lower_served_ms: when the first frame of a level below that was published.
        back: number of the frame with which it was back under the deadline.
        back_ms: when that was published.
        late_after: share of late frames from there on.
    """

    policy: str
    number: int
    frames: int
    first_late: int | None
    first_late_ms: float | None
    lower_decided_ms: float | None
    lower_served_ms: float | None
    back: int | None
    back_ms: float | None
    late_after: float | None


@dataclass(frozen=True)
class Release:
    """What followed the end of the hogs in one round of the controller.

    Attributes:
        number: of the round.
        top_s: seconds from the end of the hogs to the first frame of the top level, 0 if the loop
            was at the top level then; None if there was none before the round ended.
    """

    number: int
    top_s: float | None


@dataclass(frozen=True)
class ContentionFigures:
    """All figures.

    Attributes:
        deadline_ms: that frames were to keep.
        calibration: what the deadline was derived from, None if it was given.
        phases: by policy and phase.
        onsets: by policy and round.
        releases: by round of the controller.
        controller_cpu: share of one processor that the controller took; None if unknown.
    """

    deadline_ms: float
    calibration: Calibration | None
    phases: tuple[PhaseFigures, ...]
    onsets: tuple[Onset, ...]
    releases: tuple[Release, ...]
    controller_cpu: float | None


def calibration(
    top_calm_ms: Sequence[float], top_hogs_ms: Sequence[float], base_hogs_ms: Sequence[float]
) -> Calibration:
    """Return what a deadline is derived from; the arguments are latencies of frames.

    Raises:
        RuntimeError: if no frame was answered in one of the cases.
    """
    spreads = [spread(top_calm_ms), spread(top_hogs_ms), spread(base_hogs_ms)]
    known = [one for one in spreads if one is not None]
    if len(known) < len(spreads):
        raise RuntimeError('no image was answered in the calibration: lower --rate')
    return Calibration(known[0].p95, known[1].p50, known[2].p95)


def summarise(
    rounds: Sequence[Round],
    deadline_ms: float,
    calibrated: Calibration | None,
    level_ap: Sequence[float | None],
) -> ContentionFigures:
    """Work out all figures.

    Args:
        rounds: what happened.
        deadline_ms: that frames were to keep.
        calibrated: what it was derived from, None if it was given.
        level_ap: AP of each level of the ladder, None where unknown.
    """
    ours = [one for one in rounds if one.policy == OURS]
    shares = [one.controller_cpu for one in ours if one.controller_cpu is not None]
    return ContentionFigures(
        deadline_ms=deadline_ms,
        calibration=calibrated,
        phases=tuple(
            phase_figures(
                [one for one in rounds if one.policy == policy], phase, deadline_ms, level_ap
            )
            for policy in POLICIES
            for phase in PHASES
        ),
        onsets=tuple(
            onset(one, deadline_ms)
            for policy in POLICIES
            for one in rounds
            if one.policy == policy
        ),
        releases=tuple(release(one, len(level_ap) - 1) for one in ours),
        controller_cpu=float(np.mean(shares)) if shares else None,
    )


def phase_figures(
    rounds: Sequence[Round], phase: str, deadline_ms: float, level_ap: Sequence[float | None]
) -> PhaseFigures:
    """Return the figures of one phase over the rounds of one policy."""
    answers = [answer for one in rounds for answer in one.answers_in(phase)]
    late = [answer.latency_ms > deadline_ms for answer in answers]
    counts = Counter(-1 if answer.level is None else answer.level for answer in answers)
    minutes = sum(one.seconds_of(phase) for one in rounds) / 60
    changes = sum(level_changes(one, phase) for one in rounds)
    sent = sum(one.sent_in(phase) for one in rounds)
    return PhaseFigures(
        policy=rounds[0].policy,
        phase=phase,
        sent=sent,
        left_out=sent - sum(one.answered_of(phase) for one in rounds),
        frames=len(answers),
        late=float(np.mean(late)) if late else None,
        latency_ms=spread(answer.latency_ms for answer in answers),
        age_ms=spread(answer.age_ms for answer in answers),
        levels={level: counts[level] / len(answers) for level in sorted(counts)},
        mean_ap=_mean_ap(counts, level_ap),
        changes_per_minute=changes / minutes,
    )


def level_changes(one: Round, phase: str) -> int:
    """Count the frames of a phase that ran at another level than the frame before them."""
    pairs = zip(one.answers, one.answers[1:])
    return sum(
        before.level != after.level
        for before, after in pairs
        if one.phase_of(after.published_s) == phase
    )


def back_under(latencies_ms: Sequence[float], deadline_ms: float) -> tuple[int | None, int | None]:
    """Return the numbers, from 1, of the first late frame and of the frame that is back under.

    Args:
        latencies_ms: of the frames since the hogs began, in the order of publication.
        deadline_ms: that they were to keep.

    Returns:
        First late frame, and the frame that completes ``IN_A_ROW`` frames in a row within the
        deadline after it; None for what does not happen.
    """
    first_late, in_a_row = None, 0
    for number, latency_ms in enumerate(latencies_ms, 1):
        if latency_ms > deadline_ms:
            first_late, in_a_row = first_late or number, 0
        else:
            in_a_row += 1
        if first_late is not None and in_a_row == IN_A_ROW:
            return first_late, number
    return first_late, None


def onset(one: Round, deadline_ms: float) -> Onset:
    """Return what followed the start of the hogs."""
    frames = one.answers_in(HOGS)
    first_late, back = back_under([frame.latency_ms for frame in frames], deadline_ms)
    after = [] if back is None else [frame.latency_ms > deadline_ms for frame in frames[back:]]
    before = _level_before(one)
    lower = [(told.time_s, told.level) for told in one.decisions]
    served = [(frame.published_s, frame.level) for frame in frames]
    return Onset(
        policy=one.policy,
        number=one.number,
        frames=len(frames),
        first_late=first_late,
        first_late_ms=_published_ms(one, frames, first_late),
        lower_decided_ms=_first_below_ms(one, lower, before),
        lower_served_ms=_first_below_ms(one, served, before),
        back=back,
        back_ms=_published_ms(one, frames, back),
        late_after=float(np.mean(after)) if after else None,
    )


def release(one: Round, top: int) -> Release:
    """Return what followed the end of the hogs.

    Args:
        one: a round of the controller.
        top: the highest level of the ladder.
    """
    frames = one.answers_in(CALM_AGAIN)
    if frames and frames[0].level == top:
        return Release(one.number, 0.0)
    at_top = (frame.published_s for frame in frames if frame.level == top)
    published_s = next(at_top, None)
    return Release(one.number, None if published_s is None else published_s - one.hogs_until_s)


def _level_before(one: Round) -> int | None:
    """Return the level of the last frame before the hogs."""
    levels = [a.level for a in one.answers if a.published_s < one.hogs_from_s]
    return levels[-1] if levels else None


def _first_below_ms(
    one: Round, levels: Sequence[tuple[float, int | None]], before: int | None
) -> float | None:
    """Return when a level below that before the hogs came first while there were hogs."""
    for time_s, level in levels:
        if before is None or level is None or level >= before:
            continue
        if one.phase_of(time_s) == HOGS:
            return 1e3 * (time_s - one.hogs_from_s)
    return None


def _published_ms(one: Round, frames: Sequence[Answer], number: int | None) -> float | None:
    if number is None:
        return None
    return 1e3 * (frames[number - 1].published_s - one.hogs_from_s)


def _mean_ap(counts: Mapping[int, int], level_ap: Sequence[float | None]) -> float | None:
    total = 0.0
    for level, count in counts.items():
        ap = level_ap[level] if level >= 0 else None
        if ap is None:
            return None
        total += ap * count
    return total / sum(counts.values()) if counts else None

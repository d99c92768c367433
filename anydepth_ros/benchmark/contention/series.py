"""What happened in one round of one policy: its frames, its decisions, its hogs; no ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OURS = 'controller'
FULL, BASE = 'always full', 'always base'
POLICIES = (OURS, FULL, BASE)
CALM, HOGS, CALM_AGAIN = 'calm', 'hogs', 'calm again'
PHASES = (CALM, HOGS, CALM_AGAIN)
LATENCY = 'total_ms'  # the figure of a frame that the controller holds against its deadline


@dataclass(frozen=True)
class Answer:
    """One image that was answered.

    Attributes:
        published_s: when its detections were published, in seconds since the round began.
        latency_ms: what the deadline is about: from the arrival of the image to its detections.
        age_ms: age of the image when they were published.
        level: of the ladder, None if it was not on it.
    """

    published_s: float
    latency_ms: float
    age_ms: float
    level: int | None

    @property
    def sent_s(self) -> float:
        """When the image was sent."""
        return self.published_s - self.age_ms / 1e3


@dataclass(frozen=True)
class Told:
    """One decision of the controller as it told it.

    Attributes:
        time_s: when, in seconds since the round began.
        level: that it decided on.
        reason: in words.
    """

    time_s: float
    level: int
    reason: str


@dataclass(frozen=True)
class Round:
    """One round of one policy. Times are seconds since it began.

    Attributes:
        policy: one of ``POLICIES``.
        number: of the round, from 0.
        hogs_from_s: when the hogs were started.
        hogs_until_s: when they had ended.
        ends_s: when the camera stopped.
        sent_s: when images were sent.
        answers: in the order of publication.
        decisions: of the controller, in the order of time.
        controller_cpu: processor time of the controller over the time of the round.
    """

    policy: str
    number: int
    hogs_from_s: float
    hogs_until_s: float
    ends_s: float
    sent_s: tuple[float, ...]
    answers: tuple[Answer, ...]
    decisions: tuple[Told, ...] = ()
    controller_cpu: float | None = None

    def phase_of(self, time_s: float) -> str:
        """Return the phase of a moment."""
        if time_s < self.hogs_from_s:
            return CALM
        return HOGS if time_s < self.hogs_until_s else CALM_AGAIN

    def seconds_of(self, phase: str) -> float:
        """Return how long a phase was."""
        lengths = {
            CALM: self.hogs_from_s,
            HOGS: self.hogs_until_s - self.hogs_from_s,
            CALM_AGAIN: self.ends_s - self.hogs_until_s,
        }
        return lengths[phase]

    def sent_in(self, phase: str) -> int:
        """Return how many images were sent in a phase."""
        return sum(self.phase_of(sent_s) == phase for sent_s in self.sent_s)

    def answered_of(self, phase: str) -> int:
        """Return how many of the images that were sent in a phase were ever answered."""
        return sum(self.phase_of(one.sent_s) == phase for one in self.answers)

    def answers_in(self, phase: str) -> list[Answer]:
        """Return the images whose detections were published in a phase."""
        return [one for one in self.answers if self.phase_of(one.published_s) == phase]


def answers_of(
    stamps: Sequence[int], stats: Mapping[int, Mapping[str, str]], began_ns: int
) -> tuple[Answer, ...]:
    """Make the answers from what ``stats`` told; images that failed or were left out have none.

    Args:
        stamps: of the images that were sent, in nanoseconds.
        stats: figures by the stamp of their image.
        began_ns: when the round began, on the clock of the stamps.
    """
    found = []
    for stamp in stamps:
        values = stats.get(stamp, {})
        if LATENCY not in values:
            continue
        age_ms, level = float(values['age_ms']), values['level']
        published_s = (stamp - began_ns) / 1e9 + age_ms / 1e3
        on_ladder = int(level) if level.isdecimal() else None
        found.append(Answer(published_s, float(values[LATENCY]), age_ms, on_ladder))
    return tuple(sorted(found, key=lambda one: one.published_s))

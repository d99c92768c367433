"""What a run of the demo records, and what can be said of it while it runs; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from anydepth_core.control.signals import Decision
from anydepth_ros.demo.course import BY_HAND, Part, Setting
from anydepth_ros.demo.simulated import Climate


@dataclass(frozen=True)
class Frame:
    """One answered image.

    Attributes:
        time_s: when its detections arrived, in seconds of the demo.
        depth: operating point it was processed with, ``1111-1111@320`` or ``1111-1d6@640``.
        level: its place on the ladder, None if it has none.
        latency_ms: from the arrival of the image at the detector to its detections; this is what
            a budget is about.
        inference_ms: share of the network.
        age_ms: from the stamp of the image to the arrival of its detections here.
        detections: how many.
    """

    time_s: float
    depth: str
    level: int | None
    latency_ms: float
    inference_ms: float
    age_ms: float
    detections: int


@dataclass(frozen=True)
class Answered:
    """A setting with the answer of its node, which took ``took_ms``."""

    setting: Setting
    accepted: bool
    took_ms: float
    reason: str = ''


@dataclass(frozen=True)
class Told:
    """A decision that the controller has published, and whether the depth is in its hands."""

    time_s: float
    decision: Decision
    in_charge: bool


@dataclass
class Recording:
    """Everything a run has recorded; each list is in the order of time."""

    parts: tuple[Part, ...]
    frames: list[Frame] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    climate: list[Climate] = field(default_factory=list)
    images_in: int = 0
    messages_out: int = 0
    dropped: int = 0
    first_detections_s: float = 0.0

    def part_at(self, time_s: float) -> Part:
        """Return the part that a moment belongs to; the first and the last have no outer end."""
        return next((part for part in self.parts if time_s < part.end_s), self.parts[-1])

    def in_part(self, part: Part) -> list[Frame]:
        """Return the frames of a part."""
        return [frame for frame in self.frames if self.part_at(frame.time_s) == part]

    def target(self, parameter: str) -> list[tuple[float, float]]:
        """Return since when which value of a controller's target held; 0 is none."""
        return [
            (one.setting.time_s, float(one.setting.value))
            for one in self.answers
            if one.accepted and one.setting.parameter == parameter
        ]

    def target_at(self, parameter: str, time_s: float) -> float | None:
        """Return the value of a controller's target at a moment, None for no such target."""
        values = [value for since_s, value in self.target(parameter) if since_s <= time_s]
        return values[-1] or None if values else None

    def reason(self, time_s: float | None = None) -> str:
        """Return why the depth is what it is, now or at a moment."""
        told = [one for one in self.told if time_s is None or one.time_s <= time_s]
        return told[-1].decision.reason if told and told[-1].in_charge else BY_HAND

    def reasons(self) -> list[Told]:
        """Return the decisions with which the controller took over or changed the level."""
        in_charge = [one for one in self.told if one.in_charge]
        return [next(group) for _, group in groupby(in_charge, key=lambda one: one.decision.level)]


def stretches(frames: Sequence[Frame]) -> list[tuple[list[Frame], float]]:
    """Return the stretches of frames with one depth, each with the time at which it ends."""
    groups = [list(group) for _, group in groupby(frames, key=lambda frame: frame.depth)]
    ends = [group[0].time_s for group in groups[1:]] + [frames[-1].time_s] if frames else []
    return list(zip(groups, ends))

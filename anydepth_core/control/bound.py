"""What one part of the law asks for: a level not to go above."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A highest level and why."""

    level: int
    cause: str
    """Words without the level: 'gpu 83.0 C over 80.0 C soft limit'."""
    authority: str
    """'safety', 'floor', 'ceiling', 'deadline', 'energy' or 'accuracy'."""


def lowest(bounds: list[Bound]) -> Bound:
    """Pick the lowest bound; of equal ones the first, so pass them in order of authority."""
    return min(bounds, key=lambda bound: bound.level)

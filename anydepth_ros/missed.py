"""Counts the messages between two that were taken, by the numbers their publisher gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SequenceNumbers:
    """Follows the numbers of one topic."""

    def __init__(self) -> None:
        self._last: tuple[object, int] | None = None

    def restart(self) -> None:
        """Forget the last number: what was missed until the next message does not count."""
        self._last = None

    def missed(self, info: Mapping[str, Any] | None) -> int:
        """Return how many messages of its publisher came since the last one and were not taken.

        They were replaced by a newer one in the middleware, or lost on their way.

        Args:
            info: what the middleware tells of a message; nothing is counted where it tells no
                number, or another publisher's, or one that goes back (a publisher restarted).
        """
        number = None if info is None else info.get('publication_sequence_number')
        if info is None or number is None:
            self._last = None
            return 0
        publisher = str(info.get('publisher_gid'))
        before, self._last = self._last, (publisher, int(number))
        if before is None or before[0] != publisher:
            return 0
        return max(0, int(number) - before[1] - 1)

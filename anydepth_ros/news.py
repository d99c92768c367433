"""Tells what is new among things that are said again and again. No ROS."""

from __future__ import annotations

from collections.abc import Iterable

FORGET_AFTER_S = 10.0


class News:
    """Passes every text on once, and again when it comes back after having gone.

    Gone is what was not said for ``forget_after_s``: a loose contact is not told every second.
    """

    def __init__(self, forget_after_s: float = FORGET_AFTER_S) -> None:
        self._forget_after_s = forget_after_s
        self._said_s: dict[str, float] = {}

    def among(self, now_s: float, texts: Iterable[str]) -> list[str]:
        """Return those texts that are new.

        Args:
            now_s: any clock that does not go back.
            texts: what is the case now.
        """
        present = list(dict.fromkeys(texts))
        self._said_s = {
            text: said_s
            for text, said_s in self._said_s.items()
            if now_s - said_s <= self._forget_after_s
        }
        new = [text for text in present if text not in self._said_s]
        self._said_s.update(dict.fromkeys(present, now_s))
        return new

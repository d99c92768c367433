"""The callback group of the images: what waits behind its gate costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup


class ImageGroup(MutuallyExclusiveCallbackGroup):
    """Lets images through only while someone listens and the detector is not paused.

    Behind a closed gate the executor neither waits for messages nor takes them, so nothing is
    copied or deserialised (milliseconds for a raw image, while no other Python code runs); the
    middleware keeps the newest message. Opening needs no discovery, as a new subscription would.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """Begin with an open gate.

        Args:
            wake: makes the executor look at the gate anew.
        """
        super().__init__()
        self._wake = wake
        self._listening = True
        self._paused = False

    @property
    def paused(self) -> bool:
        """Whether images are left untouched until further notice."""
        return self._paused

    @property
    def listening(self) -> bool:
        """Whether an image would be let through, but for a pause."""
        return self._listening

    def pause(self, paused: bool) -> None:
        """Leave images untouched, or go on."""
        self._paused = paused
        self._wake()

    def listen(self, on: bool) -> None:
        """Let images through, or leave them in the middleware; any thread may call."""
        self._listening = on
        if on:
            self._wake()

    def can_execute(self, entity: Any) -> bool:
        """Whether a callback may run."""
        return self._listening and not self._paused and super().can_execute(entity)

    def beginning_execution(self, entity: Any) -> bool:
        """Ask for permission to run."""
        return self._listening and not self._paused and super().beginning_execution(entity)

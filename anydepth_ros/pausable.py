"""A callback group that can pause: what waits in it costs nothing until it goes on."""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup


class PausableGroup(MutuallyExclusiveCallbackGroup):
    """Lets no callback run while ``paused``.

    The executor does not wait for the messages of a paused group and does not take them, so
    nothing is deserialised; the middleware keeps the newest message. Going on needs no discovery,
    as a new subscription would.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    def can_execute(self, entity: Any) -> bool:
        """Whether a callback may run."""
        return not self.paused and super().can_execute(entity)

    def beginning_execution(self, entity: Any) -> bool:
        """Ask for permission to run."""
        return not self.paused and super().beginning_execution(entity)

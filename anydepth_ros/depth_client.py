"""Asks the detector for a depth through its parameter service, one request at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import time
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future

ANSWER_WITHIN_S = 2.0  # after that the detector is taken for gone, and the request is given up
SAY_AGAIN_S = 10.0
ASKED_LATELY = 3  # requests whose effect may be told later than the next one was sent


class DepthClient:
    """Sets one parameter of another node; never waits, and outlives that node's restarts.

    Humble has no client for parameters in rclpy, so the service is called directly.
    """

    def __init__(
        self,
        node: Node,
        detector: str,
        parameter: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the client.

        Args:
            node: who asks.
            detector: name of the detector node, relative to the namespace or absolute.
            parameter: name of the parameter to set.
            clock: returns seconds and never goes back.
        """
        self._node = node
        self.parameter = parameter
        self._detector = detector
        self._clock = clock
        self.service = node.resolve_service_name(f'{detector}/set_parameters')
        self._client: Any = node.create_client(SetParameters, self.service)
        self._pending: Future | None = None
        self._asked_s = 0.0
        self._asked: int | str | None = None
        self.asked_lately: deque[int | str] = deque(maxlen=ASKED_LATELY)
        self.accepted: int | str | None = None  # what the detector has agreed to last
        self.refusal = ''

    def ask(self, depth: int | str) -> bool:
        """Ask for a depth unless a request is on its way; return whether it was sent."""
        if not self._free() or not self._client.service_is_ready():
            return False
        message = Parameter(self.parameter, value=depth).to_parameter_msg()
        future = self._client.call_async(SetParameters.Request(parameters=[message]))
        self._pending, self._asked_s, self._asked = future, self._clock(), depth
        self.asked_lately.append(depth)
        future.add_done_callback(self._answered)
        return True

    def reachable(self) -> bool:
        """Whether the detector's parameter service is there."""
        return bool(self._client.service_is_ready())

    def forget(self) -> None:
        """Forget what was agreed to: somebody else may have changed it since."""
        self.accepted = None

    def _free(self) -> bool:
        if self._pending is None:
            return True
        if self._clock() - self._asked_s < ANSWER_WITHIN_S:
            return False
        self._client.remove_pending_request(self._pending)
        self._pending = None
        self.accepted = None
        return True

    def _answered(self, future: Future) -> None:
        if future is not self._pending:
            return
        self._pending = None
        try:
            answer: Any = future.result()
            result = answer.results[0]
        except Exception as error:  # the middleware has types of its own
            self.refusal = f'no answer from {self._detector}: {error}'
            return
        self.accepted = self._asked if result.successful else None
        self.refusal = '' if result.successful else str(result.reason)
        if self.refusal:
            self._node.get_logger().warning(
                f'{self._detector} refused {self.parameter} {self._asked!r}: {self.refusal}',
                throttle_duration_sec=SAY_AGAIN_S,
            )

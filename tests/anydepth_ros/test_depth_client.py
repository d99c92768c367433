"""Asking for a depth: one request at a time, whatever the other side does."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from anydepth_ros.depth_client import ANSWER_WITHIN_S, DepthClient
from tests.anydepth_ros.conftest import Graph, wait_until


class Detector(Node):
    """Answers requests as a detector does, or as it is told; unspun it answers none."""

    def __init__(self, reason: str = '') -> None:
        super().__init__('fake', start_parameter_services=False)
        self.asked: list[Any] = []
        self._reason = reason
        self.create_service(SetParameters, 'detector/set_parameters', self._answer)

    def _answer(self, request: Any, response: Any) -> Any:
        self.asked += [Parameter.from_parameter_msg(one) for one in request.parameters]
        result = SetParametersResult(successful=not self._reason, reason=self._reason)
        response.results = [result for _ in request.parameters]
        return response


def client_of(graph: Graph, clock: Any = None) -> DepthClient:
    node = graph.add(Node('controller'))
    return DepthClient(node, 'detector', 'depth', clock or (lambda: 0.0))


def test_an_accepted_depth_is_remembered(graph: Graph) -> None:
    client, detector = client_of(graph), Detector()
    graph.add(detector)
    wait_until(client.reachable)
    assert client.ask(2)
    wait_until(lambda: client.accepted == 2)
    assert [(one.name, one.value) for one in detector.asked] == [('depth', 2)]
    client.forget()
    assert client.accepted is None


def test_a_refusal_is_told_and_nothing_counts_as_accepted(graph: Graph) -> None:
    client = client_of(graph)
    graph.add(Detector('the ladder has the levels 0 to 4'))
    wait_until(client.reachable)
    assert client.ask(9)
    wait_until(lambda: client.refusal)
    assert client.refusal == 'the ladder has the levels 0 to 4' and client.accepted is None


def test_without_a_detector_nothing_is_sent(graph: Graph) -> None:
    client = client_of(graph)
    assert not client.reachable() and not client.ask(1)


def test_a_request_that_is_not_answered_is_given_up(graph: Graph) -> None:
    now = [0.0]
    client = client_of(graph, lambda: now[0])
    silent = Detector()  # it is not spun
    try:
        wait_until(client.reachable)
        assert client.ask(1)
        assert not client.ask(2)
        now[0] = ANSWER_WITHIN_S - 0.01
        assert not client.ask(2)
        now[0] = ANSWER_WITHIN_S
        assert client.ask(2)
    finally:
        silent.destroy_node()

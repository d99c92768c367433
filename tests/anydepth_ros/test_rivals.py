"""Somebody else who keeps setting what is ours is noticed and named."""

from __future__ import annotations

from rcl_interfaces.srv import SetParameters
from rclpy.node import Node

from anydepth_ros.rivals import Rivalry, setters, TIMES, WITHIN_S
from tests.anydepth_ros.conftest import Graph, wait_until


def test_changes_of_our_own_are_no_rivalry() -> None:
    rivalry = Rivalry()
    assert not any(rivalry.changed(0.1 * step, step % 2, {0, 1}) for step in range(50))


def test_a_change_by_hand_is_no_rivalry() -> None:
    rivalry = Rivalry()
    assert not any(rivalry.changed(step * WITHIN_S, 0, {2}) for step in range(50))


def test_who_keeps_changing_it_is_a_rival() -> None:
    rivalry = Rivalry()
    found = [rivalry.changed(float(step), 'base', {2}) for step in range(5)]
    assert found == [False] * (TIMES - 1) + [True] * (5 - TIMES + 1)


def test_nodes_that_can_set_it_are_named(graph: Graph) -> None:
    service = '/robot/detector/set_parameters'
    me = Node('controller', namespace='/robot')
    graph.add(me)
    me.create_client(SetParameters, service)
    assert setters(me, service) == []
    for name, other in (('other', service), ('stranger', '/elsewhere/set_parameters')):
        node = Node(name, namespace='/robot')
        node.create_client(SetParameters, other)
        graph.add(node)
    twin = Node('controller', namespace='/robot')
    graph.add(twin)
    expected = ['/robot/other', '1 more named /robot/controller']
    wait_until(lambda: setters(me, service) == expected, 'both are known')

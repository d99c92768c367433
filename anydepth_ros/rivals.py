"""Notices that another node sets a parameter of the detector that is ours to set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from rcl_interfaces.msg import ParameterEvent
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_parameter_events

from anydepth_ros.depth_client import DepthClient, SAY_AGAIN_S

TIMES, WITHIN_S = 3, 10.0  # once is somebody's hand, or the detector that declares its parameter


class RivalWatch:
    """Warns, naming who it may be, while others keep setting what is ours."""

    def __init__(
        self,
        node: Node,
        client: DepthClient,
        owned: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """Listen.

        Args:
            node: who warns.
            client: by which we set the parameter.
            owned: tells whether it is ours now.
            clock: returns seconds and never goes back.
        """
        self._node = node
        self._client = client
        self._owned = owned
        self._clock = clock
        self._rivalry = Rivalry()
        node.create_subscription(
            ParameterEvent, '/parameter_events', self._on_event, qos_profile_parameter_events
        )

    def _on_event(self, event: ParameterEvent) -> None:
        if f'{event.node}/set_parameters' != self._client.service or not self._owned():
            return
        for one in (*event.new_parameters, *event.changed_parameters):
            value = Parameter.from_parameter_msg(one).value
            if one.name == self._client.parameter and self._rivalry.changed(
                self._clock(), value, self._client.asked_lately
            ):
                others = ', '.join(setters(self._node, self._client.service))
                self._node.get_logger().warning(
                    f'{others or "an unknown node"} keeps setting {one.name} of {event.node} '
                    'while depth_mode is auto: stop it, or set depth_mode to manual',
                    throttle_duration_sec=SAY_AGAIN_S,
                )


class Rivalry:
    """Counts changes by others; no ROS."""

    def __init__(self) -> None:
        self._changes_s: deque[float] = deque(maxlen=TIMES)

    def changed(self, now_s: float, value: object, ours: Collection[object]) -> bool:
        """Note a change of the parameter.

        Args:
            now_s: any clock that does not go back.
            value: the new one.
            ours: values that we have asked for lately.

        Returns:
            Whether somebody keeps setting it.
        """
        if value in ours:
            return False
        self._changes_s.append(now_s)
        often = len(self._changes_s) == TIMES and now_s - self._changes_s[0] <= WITHIN_S
        return often


def setters(node: Node, service: str) -> list[str]:
    """Return the other nodes that could be the ones: those with a client of a service.

    Args:
        node: who asks; left out, but not another one of its name.
        service: full name of the service that sets parameters.
    """
    found = []
    own = node.get_fully_qualified_name()
    everyone = node.get_node_names_and_namespaces()
    for name, namespace in everyone:
        full = f'{namespace.rstrip("/")}/{name}'
        if full == own:
            continue
        try:
            clients = node.get_client_names_and_types_by_node(name, namespace)
        except Exception:  # it has gone in the meantime; the type of error differs by version
            continue
        if any(one == service for one, _ in clients):
            found.append(full)
    twins = sum(f'{namespace.rstrip("/")}/{name}' == own for name, namespace in everyone) - 1
    return [*sorted(found), *([f'{twins} more named {own}'] if twins > 0 else [])]

"""Looks at the ROS graph: who publishes a topic, and which other topics there are."""

from __future__ import annotations

import os
from typing import Any

from rclpy import get_rmw_implementation_identifier
from rclpy.node import Node
from rclpy.qos import QoSPolicyEnum
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from anydepth_ros.silence import COMPRESSED, Publisher, RAW, TopicView

OLD_VARIABLE, NEW_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
WITHOUT_NEW_VARIABLE = ('humble', 'jazzy')  # https://github.com/ros2/ros2_documentation/pull/6098
UNNAMED = '_NODE_NAME_UNKNOWN_'  # its name has not arrived yet, or it is no ROS node


def look(node: Node, subscription: Subscription, name: str = 'image') -> TopicView:
    """Return what the graph shows of a subscription's topic.

    Publishers appear in the graph some tenths of a second after they were made. When the
    middleware cannot answer, the view is empty: a look must never end a node.

    Args:
        node: the node that looks.
        subscription: one of its subscriptions.
        name: what the node itself calls the raw images of this camera, before remapping.
    """
    topic, qos = _topic(subscription), subscription.qos_profile
    reliability = _word(qos.reliability)
    return TopicView(
        topic=topic,
        type=_type_name(subscription.msg_type),
        reliability=reliability,
        durability=_word(qos.durability),
        publishers=_publishers(node, topic),
        others=_others(node, topic),
        fragile=_is_fragile(reliability),
        name=name,
    )


def _topic(subscription: Subscription) -> str:
    try:
        return subscription.topic_name
    except Exception:  # it was destroyed meanwhile
        return subscription.topic


def _publishers(node: Node, topic: str) -> tuple[Publisher, ...]:
    try:
        infos = node.get_publishers_info_by_topic(topic)
    except Exception:  # the middleware raises types of its own
        return ()
    return tuple(
        Publisher(
            node=_node_name(info),
            type=info.topic_type,
            reliability=_word(info.qos_profile.reliability),
            durability=_word(info.qos_profile.durability),
        )
        for info in infos
    )


def _node_name(info: TopicEndpointInfo) -> str:
    if info.node_name == UNNAMED:
        return 'a node without a name'
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'


def _others(node: Node, topic: str) -> tuple[tuple[str, str], ...]:
    """List the other topics; an image topic counts only if another node publishes it.

    What a viewer merely waits for and this node's own debug image are no cameras.
    """
    try:
        topics, own = node.get_topic_names_and_types(), node.get_fully_qualified_name()
    except Exception:  # the middleware raises types of its own
        return ()
    return tuple(
        (name, kind)
        for name, kinds in topics
        for kind in kinds
        if name != topic
        and (
            kind not in (RAW, COMPRESSED)
            or any(publisher.node != own for publisher in _publishers(node, name))
        )
    )


def _type_name(message_class: Any) -> str:
    return f'{message_class.__module__.split(".")[0]}/msg/{message_class.__name__}'


def _word(policy: QoSPolicyEnum) -> str:
    return policy.short_key


def _is_fragile(reliability: str) -> bool:
    """Tell whether images above 512 KiB are lost; Fast DDS reads best effort by default."""
    profile = os.environ.get(OLD_VARIABLE)
    if os.environ.get('ROS_DISTRO') not in WITHOUT_NEW_VARIABLE:
        profile = profile or os.environ.get(NEW_VARIABLE)
    return (
        get_rmw_implementation_identifier().startswith('rmw_fastrtps')
        and reliability in ('best_effort', 'system_default')
        and not profile
    )

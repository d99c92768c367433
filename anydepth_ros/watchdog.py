"""Watches whether images are answered, and looks at the ROS graph to say why not."""

from __future__ import annotations

import os
import time
from typing import Any

from rclpy import get_rmw_implementation_identifier
from rclpy.node import Node
from rclpy.qos import QoSPolicyEnum
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from anydepth_ros.silence import COMPRESSED, Publisher, RAW, TopicView, why_silent
from anydepth_ros.tally import Tally, TallyReport

SAY_AGAIN_S = 10.0  # how often the same trouble is logged
HANG_S = 10.0  # no model that is worth running takes longer for one image
OLD_VARIABLE, NEW_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
WITHOUT_NEW_VARIABLE = ('humble', 'jazzy')  # https://github.com/ros2/ros2_documentation/pull/6098
UNNAMED = '_NODE_NAME_UNKNOWN_'  # its name has not arrived yet, or it is no ROS node


class Watchdog:
    """Finds out why the images of one camera are not answered, and says it now and then.

    Attributes:
        silence: what it has found, '' while there is nothing to say.
    """

    def __init__(self, node: Node, tally: Tally, name: str) -> None:
        """Begin with nothing to say.

        Args:
            node: the node that looks and logs.
            tally: the counts of the camera.
            name: what the node itself calls the raw images of this camera, before remapping.
        """
        self.silence = ''
        self._node = node
        self._tally = tally
        self._name = name
        self._said_s = 0.0
        self._empty_s = 0.0  # when it was seen last that no image waits
        self._work_began_s: float | None = None  # of the image in work

    def nothing_waits(self) -> None:
        """Note that no image waits now."""
        self._empty_s = time.monotonic()

    def work_begins(self) -> None:
        """Note that an image is in work."""
        self._work_began_s = time.monotonic()

    def work_ends(self) -> None:
        """Note that no image is in work any more."""
        self._work_began_s = None

    def rest(self) -> None:
        """Have nothing to say: no image is expected."""
        self.silence = ''

    def watch(self, subscription: Subscription | None, timeout_s: float, listening: bool) -> None:
        """Look whether something is wrong.

        Args:
            subscription: to the images, None if none are expected.
            timeout_s: how long is silence, 0 for never.
            listening: whether an image that comes now would be noticed now.
        """
        if subscription is None:
            self.silence = ''
            return
        before, self.silence = self.silence, self._trouble(subscription, timeout_s, listening)
        logger = self._node.get_logger()
        if before and not self.silence:
            logger.info(f'{_topic(subscription)}: images are answered again')
        again = time.monotonic() - self._said_s > SAY_AGAIN_S
        if self.silence and (self.silence != before or again):
            self._said_s = time.monotonic()
            logger.warning(self.silence)

    def _trouble(self, subscription: Subscription, timeout_s: float, listening: bool) -> str:
        """Return why no image is answered, '' if they are or silence is not worth a word."""
        began_s, now = self._work_began_s, time.monotonic()
        if not timeout_s:
            return ''
        if began_s is not None and now - began_s > max(HANG_S, timeout_s):
            return (
                f'an image of {_topic(subscription)} has been in work for {HANG_S:.0f} s or more: '
                'the back end hangs; restart the node if this lasts'
            )
        report = self._tally.report()
        if not _is_silent(report, timeout_s, 0.0 if listening else now - self._empty_s):
            return ''
        return why_silent(look(self._node, subscription, self._name), report)


def _is_silent(report: TallyReport, timeout_s: float, unheard_s: float) -> bool:
    """Tell silence from a model that is slow: that leaves images waiting, and refuses none.

    Args:
        report: the counts of the camera.
        timeout_s: how long is silence.
        unheard_s: for how long nobody has looked whether an image waits.
    """
    refusals = [ago for ago in (report.reason_age_s, report.too_old_ago_s) if ago is not None]
    refused = bool(refusals) and min(refusals) < timeout_s < report.unanswered_s
    return refused or report.waiting_s - unheard_s > timeout_s


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

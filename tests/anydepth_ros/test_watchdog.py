"""What a look at the graph shows, with real publishers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from anydepth_ros import watchdog
from anydepth_ros.qos import image_qos, LATCHED
from anydepth_ros.silence import COMPRESSED, Publisher, RAW, TopicView, why_silent
from anydepth_ros.tally import Tally
from anydepth_ros.watchdog import look
from tests.anydepth_ros.conftest import Graph, wait_until

NOTHING = Tally().report()


def ignore(message: object) -> None:
    """Hear a message; a builtin function has no signature that rclpy of Jazzy could read."""


def subscribe(
    graph: Graph, qos: QoSProfile | None = None, kind: Any = Image
) -> tuple[Node, Subscription]:
    """Make a node that waits for images on /cam/image_raw."""
    rules = ['--ros-args', '-r', 'image:=/cam/image_raw']
    node = graph.add(Node('detector', cli_args=rules))
    return node, node.create_subscription(kind, 'image', ignore, qos or image_qos('best_effort'))


def look_until_published(node: Node, subscription: Subscription) -> TopicView:
    """Look until the graph shows a publisher of the topic and its name."""

    def named() -> TopicView | None:
        view = look(node, subscription)
        return view if any('/' in publisher.node for publisher in view.publishers) else None

    return wait_until(named, 'a publisher in the graph')


@pytest.fixture
def other_process(local_graph: Graph) -> Iterator[Node]:
    """Return a node with a participant of its own, as in another process.

    Fast DDS refuses two types of one topic within one participant.
    """
    context = Context()
    rclpy.init(args=[], context=context)
    node = Node('driver', namespace='/cam', context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_a_topic_that_nobody_publishes(graph: Graph) -> None:
    node, subscription = subscribe(graph)
    view = look(node, subscription)
    assert (view.topic, view.name, view.type) == ('/cam/image_raw', 'image', RAW)
    assert (view.reliability, view.durability) == ('best_effort', 'volatile')
    assert view.publishers == ()
    assert why_silent(view, NOTHING).endswith('another ROS_DOMAIN_ID or network')


def test_a_publisher_is_shown_with_its_node_type_and_qos(graph: Graph) -> None:
    node, subscription = subscribe(graph, LATCHED)
    driver = graph.add(Node('driver', namespace='/cam'))
    driver.create_publisher(Image, 'image_raw', image_qos('best_effort'))
    view = look_until_published(node, subscription)
    assert (view.reliability, view.durability) == ('reliable', 'transient_local')
    assert view.publishers == (Publisher('/cam/driver', RAW, 'best_effort', 'volatile'),)
    assert 'incompatible QoS RELIABILITY' in why_silent(view, NOTHING)


def test_a_durability_that_does_not_fit_is_shown(graph: Graph) -> None:
    qos = image_qos('best_effort')
    qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    node, subscription = subscribe(graph, qos)
    graph.add(Node('driver')).create_publisher(Image, '/cam/image_raw', 1)
    view = look_until_published(node, subscription)
    assert view.publishers == (Publisher('/driver', RAW, 'reliable', 'volatile'),)
    assert 'incompatible QoS DURABILITY' in why_silent(view, NOTHING)


def test_another_type_on_the_topic_is_shown(local_graph: Graph, other_process: Node) -> None:
    node, subscription = subscribe(local_graph)
    other_process.create_publisher(CompressedImage, 'image_raw', 1)
    view = look_until_published(node, subscription)
    assert [publisher.type for publisher in view.publishers] == [COMPRESSED]
    assert 'is published by /cam/driver as sensor_msgs/msg/CompressedImage but' in why_silent(
        view, NOTHING
    )


def test_a_publisher_whose_name_has_not_arrived_is_shown(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, subscription = subscribe(graph)
    node.create_publisher(Image, '/cam/image_raw', 1)
    look_until_published(node, subscription)
    infos = node.get_publishers_info_by_topic('/cam/image_raw')
    infos[0].node_name = '_NODE_NAME_UNKNOWN_'
    infos[0].node_namespace = '_NODE_NAMESPACE_UNKNOWN_'
    monkeypatch.setattr(node, 'get_publishers_info_by_topic', lambda topic: infos)
    assert look(node, subscription).publishers[0].node == 'a node without a name'


def test_a_compressed_subscription_has_its_own_type(graph: Graph) -> None:
    node, subscription = subscribe(graph, kind=CompressedImage)
    assert look(node, subscription).type == COMPRESSED


def test_a_camera_keeps_the_name_the_node_gives_it(graph: Graph) -> None:
    node, subscription = subscribe(graph)
    assert look(node, subscription, 'front/image').name == 'front/image'


def test_other_topics_are_listed_but_only_what_others_publish_counts_as_a_camera(
    graph: Graph,
) -> None:
    node, subscription = subscribe(graph)
    node.create_publisher(Image, 'debug_image', 1)
    viewer = graph.add(Node('viewer'))
    viewer.create_subscription(Image, 'awaited', ignore, 1)
    viewer.create_publisher(Image, 'rear/image', 1)
    wait_until(lambda: ('/rear/image', RAW) in look(node, subscription).others)
    others = look(node, subscription).others
    assert [name for name, kind in others if kind == RAW] == ['/rear/image']
    assert ('/rosout', 'rcl_interfaces/msg/Log') in others
    assert 'image_topic:=/rear/image ' in why_silent(look(node, subscription), NOTHING)


@pytest.mark.parametrize(
    ('distro', 'variable', 'reliability', 'rmw', 'fragile'),
    [
        ('kilted', '', 'best_effort', 'rmw_fastrtps_cpp', True),
        ('kilted', '', 'system_default', 'rmw_fastrtps_dynamic_cpp', True),
        ('kilted', '', 'reliable', 'rmw_fastrtps_cpp', False),
        ('kilted', '', 'best_effort', 'rmw_cyclonedds_cpp', False),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE', 'best_effort', 'rmw_fastrtps_cpp', False),
        ('kilted', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'best_effort', 'rmw_fastrtps_cpp', False),
        ('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'best_effort', 'rmw_fastrtps_cpp', False),
        ('humble', 'FASTDDS_DEFAULT_PROFILES_FILE', 'best_effort', 'rmw_fastrtps_cpp', True),
        ('jazzy', 'FASTDDS_DEFAULT_PROFILES_FILE', 'best_effort', 'rmw_fastrtps_cpp', True),
        ('kilted', 'FASTDDS_BUILTIN_TRANSPORTS', 'best_effort', 'rmw_fastrtps_cpp', True),
    ],
)
def test_best_effort_over_fast_dds_is_fragile_unless_a_profile_is_loaded(
    graph: Graph,
    monkeypatch: pytest.MonkeyPatch,
    distro: str,
    variable: str,
    reliability: str,
    rmw: str,
    fragile: bool,
) -> None:
    node, subscription = subscribe(graph, image_qos(reliability))
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('ROS_DISTRO', distro)
    if variable:
        monkeypatch.setenv(variable, 'LARGE_DATA')
    monkeypatch.setattr(watchdog, 'get_rmw_implementation_identifier', lambda: rmw)
    assert look(node, subscription).fragile == fragile


def test_a_subscription_without_a_reliability_reads_best_effort(graph: Graph) -> None:
    """This is why system_default is as fragile as best_effort."""
    node, subscription = subscribe(graph, image_qos('system_default'))
    (info,) = node.get_subscriptions_info_by_topic('/cam/image_raw')
    assert info.qos_profile.reliability.short_key == 'best_effort'
    assert look(node, subscription).reliability == 'system_default'


def test_a_look_without_a_middleware_is_empty(graph: Graph) -> None:
    node = Node('detector')
    subscription = node.create_subscription(Image, 'image', ignore, 1)
    node.destroy_node()
    view = look(node, subscription)
    assert (view.publishers, view.others) == ((), ())
    assert why_silent(view, NOTHING)

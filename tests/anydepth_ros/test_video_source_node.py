"""The video source in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from anydepth_ros.conversions import stamp_ns
from anydepth_ros.images import image_to_bgr
from anydepth_ros.qos import image_qos
from anydepth_ros.running import Finished
from anydepth_ros.video_source_node import VideoSourceNode
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.test_frames import write_folder


def make_source(**parameters: object) -> VideoSourceNode:
    return VideoSourceNode(
        parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()]
    )


def test_images_are_published_in_order_with_stamp_and_frame(graph: Graph, tmp_path: Path) -> None:
    heard: list[Image] = []
    listener = graph.add(Node('listener'))
    listener.create_subscription(Image, 'image', heard.append, image_qos('reliable', 20))
    folder = write_folder(tmp_path / 'images')
    before = listener.get_clock().now().nanoseconds
    graph.add(make_source(source=str(folder), rate=50.0, frame_id='front'))
    wait_until(lambda: len(heard) >= 6)
    values = [int(image_to_bgr(message)[0, 0, 0]) for message in heard]
    assert values[1:] == [(value + 1) % 3 for value in values[:-1]]
    stamps = [stamp_ns(message.header) for message in heard]
    assert stamps == sorted(stamps) and stamps[0] >= before
    assert {message.header.frame_id for message in heard} == {'front'}


def test_the_node_is_finished_when_the_source_ends(graph: Graph, tmp_path: Path) -> None:
    node = make_source(source=str(write_folder(tmp_path / 'images', 2)), loop=False, rate=0.01)
    try:
        node._publish()
        node._publish()
        with pytest.raises(Finished):
            node._publish()
    finally:
        node.destroy_node()


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({}, 'parameter source is empty'),
        ({'source': '/nowhere.mp4'}, 'does not exist'),
        ({'source': 97}, 'camera .97. cannot be opened'),
        ({'source': '/tmp', 'reliability': 'good'}, 'best_effort, reliable'),
    ],
)
def test_a_wrong_parameter_is_refused(
    graph: Graph, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises((ValueError, OSError), match=words):
        make_source(**parameters)

"""Plays a video file, a folder of images or a camera as an image topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from anydepth_ros.frames import FrameSource
from anydepth_ros.images import bgr_to_image
from anydepth_ros.qos import image_qos, RELIABILITIES
from anydepth_ros.running import Finished, run_node

DESCRIPTIONS = {
    'source': 'video file, folder of images, or camera number; no default, it must be given',
    'rate': 'frames per second, 0 for the rate of the recording or camera',
    'loop': 'begin anew at the end; otherwise the node ends with the source',
    'frame_id': 'coordinate frame in the header of the images',
    'reliability': f'reliability of the image topic: {", ".join(RELIABILITIES)}',
}


class VideoSourceNode(Node):
    """The node ``video_source``: publishes ``image`` at a fixed rate, stamped when published."""

    def __init__(self, **node_arguments: Any) -> None:
        """Open the source and start playing.

        Args:
            node_arguments: passed on to the ROS node.

        Raises:
            ValueError: if a parameter is not legal; OSError if the source cannot be read.
        """
        super().__init__('video_source', **node_arguments)
        source = str(self._declare('source', '', dynamic_typing=True))
        rate = self._declare(
            'rate', 0.0, floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1000.0)]
        )
        loop = self._declare('loop', True)
        self._frame_id = self._declare('frame_id', 'camera')
        profile = image_qos(self._declare('reliability', 'reliable'))
        if not source:
            raise ValueError(
                f'parameter source is empty: give a {DESCRIPTIONS["source"].partition(";")[0]}'
            )
        self._frames = FrameSource(source, loop)
        self._publisher = self.create_publisher(Image, 'image', profile)
        self._timer = self.create_timer(1.0 / (rate or self._frames.fps), self._publish)
        self.get_logger().info(
            f'playing {source} at {rate or self._frames.fps:g} frames per second'
        )

    def destroy_node(self) -> None:
        """Release the source too."""
        if hasattr(self, '_frames'):
            self._frames.close()
        super().destroy_node()

    def _declare(self, name: str, default: Any, **fields: Any) -> Any:
        descriptor = ParameterDescriptor(description=DESCRIPTIONS[name], read_only=True, **fields)
        return self.declare_parameter(name, default, descriptor).value

    def _publish(self) -> None:
        image_bgr = self._frames.read()
        if image_bgr is None:
            self.get_logger().info('the source has ended')
            raise Finished
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
        self._publisher.publish(bgr_to_image(image_bgr, header))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run_node(VideoSourceNode, arguments)


if __name__ == '__main__':
    raise SystemExit(main())

"""The benchmark's camera: a process that publishes one image again and again.

    python -m anydepth_ros.benchmark.source FILE RELIABILITY

FILE holds the serialised message. Each line of standard input, ``RATE SECONDS``, is answered,
once so long was sent, by a line of JSON: the stamps that were sent and how often the middleware
refused. The end of the input ends it.
"""

from __future__ import annotations

import json
from pathlib import Path
import sys
import time

import rclpy
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from anydepth_ros.benchmark.child import run_child
from anydepth_ros.benchmark.frame import with_stamp
from anydepth_ros.benchmark.pacing import play
from anydepth_ros.qos import image_qos

HISTORY = 5  # images that a camera driver usually keeps


class Camera:
    """Publishes the image and keeps the stamps."""

    def __init__(self, publisher: Publisher, serialised: bytes) -> None:
        self.stamps: list[int] = []
        self.refused = 0
        self._publisher = publisher
        self._serialised = bytearray(serialised)

    def send(self) -> None:
        """Publish the image, stamped now."""
        stamp = time.time_ns()
        try:
            self._publisher.publish(with_stamp(self._serialised, stamp))
        except RuntimeError:  # a reliable writer that waited too long for its readers
            self.refused += 1
        else:
            self.stamps.append(stamp)


def follow_orders(node: rclpy.node.Node) -> None:
    """Publish as standard input says."""
    path, reliability = sys.argv[1:]
    publisher = node.create_publisher(Image, 'image', image_qos(reliability, HISTORY))
    serialised = Path(path).read_bytes()
    for line in sys.stdin:
        rate_hz, seconds = map(float, line.split())
        camera = Camera(publisher, serialised)
        play(camera.send, rate_hz, seconds)
        print(json.dumps({'stamps': camera.stamps, 'refused': camera.refused}), flush=True)


if __name__ == '__main__':
    run_child('camera', follow_orders)

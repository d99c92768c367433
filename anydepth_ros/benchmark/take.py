"""Time how long the middleware takes to hand over an image: a process beside the camera.

    python -m anydepth_ros.benchmark.take RELIABILITY COUNT

It prints a JSON list of milliseconds: take and deserialisation of one image each, as the detector
pays them before its callback is entered.
"""

from __future__ import annotations

import json
import sys
import time

import rclpy
from sensor_msgs.msg import Image

from anydepth_ros.benchmark.child import run_child
from anydepth_ros.qos import image_qos

PATIENCE_S = 20.0
POLL_S = 0.001
WARM_UP = 5  # first images, not counted


def time_takes(node: rclpy.node.Node) -> None:
    """Take images and print how long each took."""
    reliability, count = sys.argv[1], int(sys.argv[2])
    subscription = node.create_subscription(
        Image, 'image', lambda message: None, image_qos(reliability)
    )
    times_ms: list[float] = []
    end = time.monotonic() + PATIENCE_S
    while len(times_ms) < count + WARM_UP and time.monotonic() < end:
        with subscription.handle:
            started = time.perf_counter()
            taken = subscription.handle.take_message(Image, False)
            took_ms = 1e3 * (time.perf_counter() - started)
        if taken is None:
            time.sleep(POLL_S)
        else:
            times_ms.append(took_ms)
    print(json.dumps(times_ms[WARM_UP:]), flush=True)


if __name__ == '__main__':
    run_child('take', time_takes)

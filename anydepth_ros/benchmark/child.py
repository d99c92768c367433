"""Run a helper process of the benchmark, so that it always leaves the middleware properly."""

from __future__ import annotations

from collections.abc import Callable
import signal
import sys
from types import FrameType

import rclpy

from anydepth_ros.running import init

NAMESPACE = '/anydepth_benchmark'  # away from a camera and a detector of the same domain


def run_child(name: str, work: Callable[[rclpy.node.Node], None]) -> None:
    """Make a node, let it work and end it; shared memory would stay behind a killed process."""
    signal.signal(signal.SIGTERM, leave)
    init([])
    node = rclpy.create_node(name, namespace=NAMESPACE)
    try:
        work(node)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def leave(number: int, frame: FrameType | None) -> None:
    """Answer a signal by leaving all blocks, so that what they hold is ended."""
    sys.exit(1)

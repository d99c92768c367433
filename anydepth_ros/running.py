"""Run one node as a process, with a clean end however often SIGINT and SIGTERM come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import signal
import sys
from types import FrameType

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from rclpy.node import Node


class _InterruptOnce:
    """Raises KeyboardInterrupt for the first SIGINT only.

    A terminal and ``ros2 launch`` both send one for a single Ctrl-C; the second must not break
    into the cleanup.
    """

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if not self.seen:
            self.seen = True
            raise KeyboardInterrupt


class Finished(Exception):
    """Raised by a node that has nothing left to do; needs an executor with one thread."""


def run_node(
    make_node: Callable[[], Node], arguments: Sequence[str] | None = None, threads: int = 1
) -> int:
    """Make a node and spin it until it is told to stop.

    Args:
        make_node: called once ROS is initialised.
        arguments: command line, ``sys.argv`` if None.
        threads: of the executor; more than one so that a callback that takes long does not hold up
            the others.

    Returns:
        Exit status: 0 after a signal or the node's own end; 1 after an error that the user can
        mend (wrong parameter, unreadable source), which is printed as one line.
    """
    interrupts = _InterruptOnce()
    signal.signal(signal.SIGINT, interrupts)
    executor: Executor | None = None
    node: Node | None = None
    try:
        rclpy.init(args=None if arguments is None else list(arguments))
        executor = (
            SingleThreadedExecutor()
            if threads == 1
            else MultiThreadedExecutor(num_threads=threads)
        )
        node = make_node()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException, Finished):
        pass
    except (ValueError, OSError, ParameterException, NameValidationException) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 1
    finally:
        interrupts.seen = True
        if executor is not None:
            executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0

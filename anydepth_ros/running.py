"""Run one node as a process, with a clean end however often SIGINT and SIGTERM come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import signal
import sys
from types import FrameType

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from anydepth_core.errors import sentence

POLL_S = 0.1  # how soon a signal is noticed


class StopSignals:
    """Notes SIGINT and SIGTERM instead of letting them break into the work.

    A terminal and ``ros2 launch`` both send SIGINT for a single Ctrl-C; the second must not break
    into the cleanup. rclpy's own handlers would also end ROS at once, under a frame in work.
    """

    def __init__(self) -> None:
        self.noted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = True


class Finished(Exception):
    """Raised by a callback of a node that has nothing left to do."""


def init(arguments: Sequence[str] | None) -> None:
    """Initialise rclpy without its signal handlers; arguments None means ``sys.argv``."""
    words = None if arguments is None else list(arguments)
    rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)


def run_node(make_node: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Make a node and spin it until it is told to stop.

    One thread runs all callbacks: rclpy's multi-threaded executor stalls for tenths of a second
    now and then (seen with Kilted at 15 images a second), and images are lost in the meantime.

    Args:
        make_node: called once ROS is initialised.
        arguments: command line, ``sys.argv`` if None.

    Returns:
        Exit status: 0 after a signal or the node's own end; 1 after an error that the user
        can mend (wrong parameter, unreadable source), which is printed as one line.
    """
    signals = StopSignals()
    executor: SingleThreadedExecutor | None = None
    node: Node | None = None
    try:
        init(arguments)
        executor = SingleThreadedExecutor()
        node = make_node()
        executor.add_node(node)
        while rclpy.ok() and not signals.noted:
            executor.spin_once(timeout_sec=POLL_S)
    except (KeyboardInterrupt, ExternalShutdownException, Finished):
        pass
    except (ValueError, OSError, ParameterException, NameValidationException) as error:
        print(f'error: {sentence(error)}', file=sys.stderr)
        return 1
    finally:
        if executor is not None:
            executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0

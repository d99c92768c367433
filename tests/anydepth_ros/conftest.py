"""A ROS graph for one test: nodes added to it are spun, and everything is shut down whatever "
"the test did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import threading
import time
from typing import Any

import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from anydepth_core.export.bundle import Bundle
from tests.anydepth_core.support.toy_bundle import write_toy_bundle

PATIENCE_S = 20.0


def wait_until(condition: Callable[[], Any], what: str = '') -> Any:
    """Wait until a condition holds and return its value."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f'not within {PATIENCE_S:.0f} s: {what or condition}')


class Graph:
    """Spins nodes in a thread."""

    def __init__(self) -> None:
        rclpy.init(args=[])
        self._executor = MultiThreadedExecutor(num_threads=4)
        self._nodes: list[Node] = []
        self._ended = (
            Future()
        )  # ended through a future: shutdown() from another thread may miss a waiting spin
        self._thread = threading.Thread(
            target=self._executor.spin_until_future_complete, args=(self._ended,)
        )
        self._thread.start()

    def add(self, node: Node) -> Node:
        """Spin a node from now on."""
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def close(self) -> None:
        """Stop spinning before anything is destroyed."""
        self._ended.set_result(None)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        rclpy.try_shutdown()


@pytest.fixture
def graph() -> Iterator[Graph]:
    """Return a graph that only this process sees."""
    graph = Graph()
    yield graph
    graph.close()


@pytest.fixture
def local_graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    """Return a graph that other processes of this machine see."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    graph = Graph()
    yield graph
    graph.close()


@pytest.fixture(scope='session')
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the toy bundle."""
    directory: Path = tmp_path_factory.mktemp('bundles') / 'toy'
    return write_toy_bundle(directory)

"""A ROS graph for one test.

Nodes added to it are spun, and everything is shut down whatever the test did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import threading
import time
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from anydepth_core.export.bundle import Bundle
from tests.anydepth_core.support.toy_bundle import write_toy_bundle, write_toy_detr_bundle
from tests.anydepth_ros.processes import Process

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
    """Spins each node in a thread of its own, as its own process would."""

    def __init__(self) -> None:
        rclpy.init(args=[])
        self._nodes: list[Node] = []
        self._threads: list[threading.Thread] = []
        self._closing = False

    def add(self, node: Node) -> Node:
        """Spin a node from now on."""
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        self._nodes.append(node)
        self._threads.append(threading.Thread(target=self._spin, args=(executor,)))
        self._threads[-1].start()
        return node

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        while not self._closing:
            executor.spin_once(timeout_sec=0.1)
        executor.shutdown()

    def close(self) -> None:
        """Stop spinning before anything is destroyed."""
        self._closing = True
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
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


@pytest.fixture(scope='session')
def detr_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the toy bundle with a decoder, stretched input and no suppression, as RT-DETR has."""
    directory: Path = tmp_path_factory.mktemp('bundles') / 'detr'
    return write_toy_detr_bundle(directory)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return a function that starts a console script; every process is ended with the test."""
    processes: list[Process] = []

    def start(executable: str, *arguments: str, **keywords: Any) -> Process:
        log = tmp_path / f'{len(processes)}.log'
        processes.append(Process(log, executable, *arguments, **keywords))
        return processes[-1]

    yield start
    for process in processes:
        process.popen.kill()
        process.popen.wait()

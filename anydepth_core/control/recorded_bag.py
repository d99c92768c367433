"""Signals from a rosbag: what the controller node would have been told, at the moments it decides.

A decision follows every image on ``stats``, and `PERIOD_S` after the last one where no image
comes, as in the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TYPE_CHECKING

from anydepth_core.bags import messages, open_bag
from anydepth_core.control.readings import (
    battery_reading,
    frame_report,
    jetson_readings,
    temperature_reading,
)
from anydepth_core.control.signal_board import SignalBoard
from anydepth_core.control.signals import Signals
from anydepth_core.errors import sentence

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader

PERIOD_S = 0.1
LONGEST_GAP_S = 60.0  # a longer one is a jump of the clock, or a pause of the recording
DIAGNOSTICS, BATTERY, TEMPERATURE = (
    'diagnostic_msgs/msg/DiagnosticArray',
    'sensor_msgs/msg/BatteryState',
    'sensor_msgs/msg/Temperature',
)


@dataclass(frozen=True)
class BagTopics:
    """Where a controller listens.

    Attributes:
        namespace: of the robot, such as ``/robot1``; empty for the root.
        camera: whose figures are followed, empty for the only one.
    """

    namespace: str = ''
    camera: str = ''

    def types(self) -> dict[str, str]:
        """Return the type of message by topic."""
        root = f'/{self.namespace.strip("/")}'.rstrip('/')
        return {
            self.stats(): DIAGNOSTICS,
            f'{root}/battery_state': BATTERY,
            f'{root}/temperature': TEMPERATURE,
            '/diagnostics': DIAGNOSTICS,
        }

    def stats(self) -> str:
        """Return the topic with the figures of each image."""
        parts = [self.namespace.strip('/'), self.camera.strip('/'), 'stats']
        return '/' + '/'.join(part for part in parts if part)


def is_bag(path: str | Path) -> bool:
    """Tell whether a path looks like a rosbag: a folder of one, or an .mcap or .db3 file."""
    path = Path(path)
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or any(map(is_bag, path.glob('*.*')))
    return path.suffix in ('.mcap', '.db3')


def load_bag(
    path: str | Path, topics: BagTopics = BagTopics(), timeout_s: float = 5.0
) -> tuple[Signals, ...]:
    """Read a recording; its time begins with 0.

    Args:
        path: the folder of a rosbag2, or a single ``.mcap`` or ``.db3`` file.
        topics: where to listen.
        timeout_s: age at which a reading is stale, as the node's ``signal_timeout_s``.

    Raises:
        ValueError: if it is no readable bag, or holds none of the topics; in one sentence.
        ImportError: if rosbags is missing.
    """
    with open_bag(Path(path)) as reader:
        records = tuple(_records(reader, _connections(reader, topics), topics, timeout_s))
    if not records:
        raise ValueError(f'{path} holds no message of {", ".join(topics.types())}')
    return records


def _connections(reader: Reader, topics: BagTopics) -> list[Connection]:
    """Choose the recorded topics.

    Raises:
        ValueError: if there is none, or the figures are on another topic than expected.
    """
    wanted = topics.types()
    found = [one for one in reader.connections if wanted.get(one.topic) == one.msgtype]
    if topics.stats() not in {one.topic for one in found}:
        others = sorted(
            one.topic
            for one in reader.connections
            if one.topic.endswith('/stats') and one.msgtype == DIAGNOSTICS
        )
        if others:
            raise ValueError(
                f'{reader.path} has no {topics.stats()}, but {", ".join(others)}: '
                'choose with --namespace and --camera'
            )
    if not found:
        raise ValueError(
            f'{reader.path} has none of {", ".join(wanted)}: choose with --namespace and --camera'
        )
    return found


def _records(
    reader: Reader, connections: list[Connection], topics: BagTopics, timeout_s: float
) -> Iterator[Signals]:
    from rosbags.typesys import get_typestore, Stores

    store = get_typestore(Stores.ROS2_HUMBLE)
    board = SignalBoard(timeout_s)
    start_ns: int | None = None
    last_s, all_told = 0.0, True
    for connection, time_ns, data in messages(reader, connections):
        start_ns = time_ns if start_ns is None else start_ns
        now_s = (time_ns - start_ns) / 1e9
        for moment_s in _between(last_s, now_s):
            last_s = moment_s
            yield board.signals(moment_s)
        try:
            message = store.deserialize_cdr(data, connection.msgtype)
        except Exception as error:  # damage comes to light as whatever a parser stumbles over
            raise ValueError(
                f'{reader.path} is damaged: a message of {connection.topic} at {now_s:.3f} s '
                f'cannot be read: {sentence(error)}'
            ) from error
        _note(board, now_s, connection.topic == topics.stats(), connection.msgtype, message)
        all_told = connection.topic == topics.stats()
        if all_told:
            last_s = now_s
            yield board.signals(now_s)
    if not all_told:
        yield board.signals(now_s)


def _between(last_s: float, now_s: float) -> Iterator[float]:
    """Give the moments without an image at which the node decides by itself."""
    if now_s - last_s <= LONGEST_GAP_S:
        count = int((now_s - last_s) / PERIOD_S)
        yield from (last_s + PERIOD_S * step for step in range(1, count + 1))
    else:
        yield now_s


def _note(board: SignalBoard, now_s: float, is_stats: bool, msgtype: str, message: Any) -> None:
    if is_stats:
        board.frame(now_s, frame_report(message))
    elif msgtype == BATTERY:
        board.battery(now_s, battery_reading(message))
    elif msgtype == TEMPERATURE:
        zone, celsius = temperature_reading(message)
        if celsius is not None:
            board.temperature(now_s, zone, celsius)
    else:
        board.jetson(now_s, jetson_readings(message))

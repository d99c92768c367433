"""Tiny bags for tests, and what is in a bag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
import sqlite3
from typing import TypeAlias

import cv2
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection2DArray
import yaml

from anydepth_core.export.bundle import Bundle
from anydepth_ros.bag.command import main
from anydepth_ros.bag.definitions import Definitions, type_name
from anydepth_ros.bag.writing import offered
from anydepth_ros.qos import LATCHED
from tests.anydepth_core.support.toy_bundle import picture

Message: TypeAlias = Image | CompressedImage | String
Entry = tuple[str, Message | bytes, int]
Record = tuple[str, int, bytes]
Make = Callable[[np.ndarray, int], Message]

PLUGINS = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
START = 1_700_000_000_000_000_000
PICTURES = (
    picture((0, 0, 0)),
    picture(),
    picture((1, 2, 1), (2, 0, 2)),
    picture((0, 1, 2)).repeat(2, axis=0).repeat(2, axis=1),
)


def header_of(index: int) -> Header:
    """A header whose stamp is earlier than the bag time, as recording takes a while."""
    header = Header(frame_id=f'camera_{index}')
    header.stamp.sec, header.stamp.nanosec = 1_600_000_000 + index, 7 * index
    return header


def raw(image_bgr: np.ndarray, index: int = 0, padding: int = 0) -> Image:
    height, width = image_bgr.shape[:2]
    rows = np.full((height, 3 * width + padding), 99, np.uint8)
    rows[:, : 3 * width] = image_bgr[..., ::-1].reshape(height, 3 * width)
    return Image(
        header=header_of(index),
        height=height,
        width=width,
        encoding='rgb8',
        step=3 * width + padding,
        data=rows.tobytes(),
    )


def padded(image_bgr: np.ndarray, index: int = 0) -> Image:
    return raw(image_bgr, index, padding=5)


def jpeg(image_bgr: np.ndarray, index: int = 0) -> CompressedImage:
    data = cv2.imencode('.jpg', image_bgr)[1].tobytes()
    return CompressedImage(header=header_of(index), format='rgb8; jpeg compressed bgr8', data=data)


def write_bag(
    path: Path,
    entries: Sequence[Entry],
    storage: str = 'sqlite3',
    compression: str = 'NONE',
) -> Path:
    """Write a bag; bytes are taken for a broken message of the type first seen on the topic."""
    definitions = Definitions()
    types = {t: type_name(type(one)) for t, one, _ in entries if not isinstance(one, bytes)}
    writer = Writer(path, version=9, storage_plugin=PLUGINS[storage])
    writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, msgtype in types.items():
            known = definitions.of(msgtype)
            connections[topic] = writer.add_connection(
                topic,
                msgtype,
                msgdef=known.text,
                rihs01=known.type_hash,
                offered_qos_profiles=offered(LATCHED),
            )
        for topic, message, time_ns in entries:
            data = message if isinstance(message, bytes) else serialize_message(message)
            writer.write(connections[topic], time_ns, data)
    return path


def camera_entries(make: Make = raw, topic: str = '/camera/image_raw') -> list[Entry]:
    return [
        (topic, make(image, index), START + 100_000_000 * index)
        for index, image in enumerate(PICTURES)
    ]


def records(path: Path) -> list[Record]:
    with Reader(path) as reader:
        return [(one.topic, time_ns, bytes(data)) for one, time_ns, data in reader.messages()]


def answers(path: Path, topic: str = '/camera/detections') -> list[tuple[int, Detection2DArray]]:
    return [
        (time_ns, deserialize_message(data, Detection2DArray))
        for name, time_ns, data in records(path)
        if name == topic
    ]


def stats_of(path: Path, topic: str = '/camera/stats') -> list[DiagnosticArray]:
    return [
        deserialize_message(data, DiagnosticArray)
        for name, _, data in records(path)
        if name == topic
    ]


def as_humble_records(bag: Path) -> Path:
    """Take away from a sqlite3 bag what Humble does not record: definitions and hashes."""
    (file,) = bag.glob('*.db3')
    with sqlite3.connect(file) as connection:
        for table in ('schema', 'metadata', 'message_definitions'):
            connection.execute(f'DROP TABLE {table}')
        connection.execute('ALTER TABLE topics DROP COLUMN type_description_hash')
    connection.close()
    path = bag / 'metadata.yaml'
    metadata = yaml.safe_load(path.read_text(encoding='utf-8'))
    facts = metadata['rosbag2_bagfile_information']
    facts['version'] = 5
    for name in ('custom_data', 'ros_distro'):
        del facts[name]
    for topic in facts['topics_with_message_count']:
        about = topic['topic_metadata']
        about['offered_qos_profiles'] = yaml.safe_dump(about['offered_qos_profiles'])
        del about['type_description_hash']
    path.write_text(yaml.safe_dump(metadata), encoding='utf-8')
    return bag


def run(bag: Path, output: Path, bundle: Bundle, *options: str) -> int:
    return main([str(bag), '--output', str(output), '--model', str(bundle.path), *options])

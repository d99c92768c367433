"""Rosbags of a robot with controller, written without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

STORE = get_typestore(Stores.ROS2_HUMBLE)
PLUGINS = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
START_NS = 1_700_000_000_000_000_000
DIAGNOSTICS = 'diagnostic_msgs/msg/DiagnosticArray'

Entry = tuple[str, float, Any]


def header(frame_id: str = '') -> Any:
    """Return a header."""
    stamp = STORE.types['builtin_interfaces/msg/Time'](sec=1, nanosec=2)
    return STORE.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)


def diagnostics(name: str, message: str = 'ok', **values: str) -> Any:
    """Return a message with one status."""
    pair, status = (
        STORE.types[f'diagnostic_msgs/msg/{x}'] for x in ('KeyValue', 'DiagnosticStatus')
    )
    pairs = [pair(key=key, value=value) for key, value in values.items()]
    one = status(level=0, name=name, message=message, hardware_id='', values=pairs)
    return STORE.types[DIAGNOSTICS](header=header(), status=[one])


def stats(level: int, total_ms: float, dropped: int = 0) -> Any:
    """Return what the detector says of an image."""
    values = {'level': str(level), 'total_ms': f'{total_ms:.3f}', 'dropped': str(dropped)}
    return diagnostics('detector', depth_mode='auto', **values)


def battery(percentage: float, status: int = 2) -> Any:
    """Return the state of a battery; what is not given is unmeasured."""
    kind = STORE.types['sensor_msgs/msg/BatteryState']
    fields = {name: float('nan') for name in ('voltage', 'temperature', 'current', 'charge')}
    return kind(
        header=header(),
        **fields,
        capacity=float('nan'),
        design_capacity=float('nan'),
        percentage=percentage,
        power_supply_status=status,
        power_supply_health=0,
        power_supply_technology=0,
        present=True,
        cell_voltage=np.zeros(0, np.float32),
        cell_temperature=np.zeros(0, np.float32),
        location='',
        serial_number='',
    )


def temperature(celsius: float, zone: str = 'motor') -> Any:
    """Return a temperature."""
    kind = STORE.types['sensor_msgs/msg/Temperature']
    return kind(header=header(zone), temperature=celsius, variance=0.0)


def write_bag(path: Path, entries: Sequence[Entry], storage: str = 'sqlite3') -> Path:
    """Write topic, seconds and message of each entry; bytes stand for a broken DiagnosticArray."""
    writer = Writer(path, version=9, storage_plugin=PLUGINS[storage])
    with writer:
        connections: dict[str, Any] = {}
        for topic, seconds, message in entries:
            broken = isinstance(message, bytes)
            kind = DIAGNOSTICS if broken else message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = message if broken else STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], START_NS + round(seconds * 1e9), data)
    return path

"""The bag that is written: it appears under its name only once it is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import sqlite3
import tempfile
from typing import Literal

from rclpy.qos import QoSProfile
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}

# The newest version that Humble reads; Jazzy and Kilted read it as well.
_VERSION: Literal[8] = 8

# What rosbag2 records for a deadline or lease that was never set.
_INFINITE = QosTime(9223372036, 854775807)


def check_output(path: Path) -> None:
    """Refuse an output that cannot be made.

    Raises:
        ValueError: if it exists already or its folder does not.
    """
    if path.exists() or path.is_symlink():
        raise ValueError(f'--output {path} exists already: give a name that is free')
    if not path.resolve().parent.is_dir():
        raise ValueError(
            f'--output {path} cannot be made: its folder {path.resolve().parent} does not exist'
        )


@contextmanager
def new_bag(path: Path, storage: str, facts: Mapping[str, str]) -> Iterator[Writer]:
    """Give a writer of a bag that gets its name when the block ends well, and vanishes otherwise.

    Args:
        path: folder to be made.
        storage: one of ``STORAGES``.
        facts: what the bag says about its making (``custom_data`` of its metadata).

    Raises:
        OSError: if it cannot be written, in one sentence.
    """
    folder = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.resolve().parent))
    unnamed = folder / path.name  # the name of the folder is part of the storage file's name
    try:
        writer = Writer(unnamed, version=_VERSION, storage_plugin=STORAGES[storage])
        for key, value in facts.items():
            writer.set_custom_data(key, value)
        with writer:
            yield writer
        os.rename(unnamed, path)
    except (OSError, WriterError, sqlite3.Error) as error:
        raise OSError(f'--output {path} cannot be written: {error}') from error
    finally:
        shutil.rmtree(folder)


def offered(profile: QoSProfile) -> list[Qos]:
    """Return a profile as a bag records it: ``ros2 bag play`` publishes with it."""
    return [
        Qos(
            history=QosHistory[profile.history.name],
            depth=profile.depth,
            reliability=QosReliability[profile.reliability.name],
            durability=QosDurability[profile.durability.name],
            deadline=_INFINITE,
            lifespan=_INFINITE,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_INFINITE,
            avoid_ros_namespace_conventions=False,
        )
    ]


def recorded_qos(connection: Connection) -> list[Qos]:
    """Return the profiles of a recorded topic."""
    return list(getattr(connection.ext, 'offered_qos_profiles', ()))

"""Opening rosbags and reading their messages; needs no ROS, only the package rosbags."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anydepth_core.errors import sentence

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Open a bag for the time of a block.

    Args:
        path: the folder of a rosbag2, or a single ``.mcap`` or ``.db3`` file.

    Raises:
        ValueError: if it does not exist or is not a readable bag, in one sentence.
        ImportError: if rosbags is missing.
    """
    try:
        from rosbags.rosbag2 import Reader
    except ImportError:
        raise ImportError(
            'reading a rosbag needs rosbags: pip install "anydepth-ros[bag]"'
        ) from None
    if not path.exists():
        raise ValueError(
            f'{path} does not exist: give the folder of a rosbag2, or an .mcap or .db3 file'
        )
    if path.is_dir() and not (path / 'metadata.yaml').is_file():
        raise ValueError(
            f'{path} has no metadata.yaml: run `ros2 bag reindex {path}` if it is a bag'
        )
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # damage comes to light as whatever a parser stumbles over
        raise ValueError(f'{path} is no complete rosbag2: {sentence(error)}') from error
    try:
        yield reader
    finally:
        reader.close()


def messages(
    reader: Reader,
    connections: Collection[Connection],
    start_ns: int | None = None,
    stop_ns: int | None = None,
) -> Iterator[tuple[Connection, int, bytes]]:
    """Give the messages of some topics with their bag times, one after the other.

    Raises:
        ValueError: if the bag turns out to be damaged, in one sentence.
    """
    count = 0
    try:
        for message in reader.messages(connections, start_ns, stop_ns):
            count += 1
            yield message
    except Exception as error:  # see open_bag
        raise ValueError(
            f'{reader.path} is damaged after {count} messages: {sentence(error)}'
        ) from error

"""The bag that is read: its image topics and its messages in the order they were recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from anydepth_ros.running import sentence

RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


@dataclass(frozen=True)
class ImageTopic:
    """A recorded topic whose images are to be answered.

    Attributes:
        name: of the topic.
        msgtype: ``RAW`` or ``COMPRESSED``.
        count: recorded messages.
        namespace: where its detections go: ``<namespace>/detections``; empty for the root.
        camera: its name in stats; empty for the only one, as the node has it.
    """

    name: str
    msgtype: str
    count: int
    namespace: str
    camera: str


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Open a bag for the time of a block.

    Args:
        path: the folder of a rosbag2, or a single ``.mcap`` or ``.db3`` file.

    Raises:
        ValueError: if it does not exist or is not a readable bag, in one sentence.
    """
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


def storage_of(path: Path) -> str:
    """Return the storage of a readable bag: ``mcap`` or ``sqlite3``."""
    names = [file.name for file in path.iterdir()] if path.is_dir() else [path.name]
    return 'mcap' if any('.mcap' in name for name in names) else 'sqlite3'


def messages(
    reader: Reader,
    connections: Collection[Connection],
    start_ns: int | None,
    stop_ns: int | None,
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


def choose_topics(reader: Reader, wanted: Sequence[str]) -> list[ImageTopic]:
    """Return the image topics to answer.

    Args:
        reader: the open bag.
        wanted: names of topics; empty for the only image topic that has messages.

    Raises:
        ValueError: if there is none, or several and none is wanted; the message lists them.
    """
    found = _image_counts(reader)
    if wanted:
        names = list(dict.fromkeys(f'/{name.lstrip("/")}' for name in wanted))
    else:
        names = [name for name, (_, count) in found.items() if count]
    if not found or not names:
        raise ValueError(
            f'{reader.path} has no images: its topics are '
            f'{", ".join(f"{one.topic} ({one.msgtype})" for one in reader.connections) or "none"}'
        )
    if strange := [name for name in names if name not in found]:
        raise ValueError(
            f'{reader.path} has no image topic {strange[0]}: use one of {", ".join(found)}'
        )
    if len(names) > 1 and not wanted:
        raise ValueError(
            f'{reader.path} has several image topics, choose with --topic: {", ".join(names)}'
        )
    namespaces = _namespaces({name: found[name][0] for name in names})
    cameras = {name: namespaces[name].lstrip('/') if len(names) > 1 else '' for name in names}
    return [ImageTopic(name, *found[name], namespaces[name], cameras[name]) for name in names]


def _image_counts(reader: Reader) -> dict[str, tuple[str, int]]:
    """Return type and number of messages of each image topic."""
    found: dict[str, tuple[str, int]] = {}
    for one in reader.connections:
        if one.msgtype in (RAW, COMPRESSED):
            _, count = found.get(one.topic, ('', 0))
            found[one.topic] = one.msgtype, count + one.msgcount
    return found


def _namespaces(types: dict[str, str]) -> dict[str, str]:
    """Return where the answers to each image topic go.

    Beside the image, as the node does it: ``/camera`` for ``/camera/image_raw`` and
    ``/camera/image_raw/compressed``. Where two would meet, each topic is its own namespace.
    """
    result = {}
    for name, msgtype in types.items():
        image = name.removesuffix('/compressed') if msgtype == COMPRESSED else name
        result[name] = image.rpartition('/')[0]
    if len(set(result.values())) < len(result):
        return {name: name for name in types}
    return result

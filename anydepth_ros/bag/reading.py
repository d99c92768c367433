"""The bag that is read: its storage and its image topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import Reader

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


def storage_of(path: Path) -> str:
    """Return the storage of a readable bag: ``mcap`` or ``sqlite3``."""
    names = [file.name for file in path.iterdir()] if path.is_dir() else [path.name]
    return 'mcap' if any('.mcap' in name for name in names) else 'sqlite3'


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

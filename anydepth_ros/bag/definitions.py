"""What a bag stores about a message type beside the messages: its definition and its hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.interfaces.typing import Fielddefs
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

from anydepth_core.errors import sentence


@dataclass(frozen=True)
class Definition:
    """A message type as a bag describes it.

    Attributes:
        text: its definition followed by those of the types it holds.
        type_hash: ``RIHS01_`` and 64 hexadecimal digits.
    """

    text: str
    type_hash: str


class Definitions:
    """Describes message types: the standard ones, and others from the installed packages.

    Installed definitions belong to the classes that write the messages, so that bytes and
    description cannot contradict each other.
    """

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_HUMBLE)

    def of(self, msgtype: str) -> Definition:
        """Describe a type.

        Args:
            msgtype: name such as ``vision_msgs/msg/Detection2DArray``.

        Raises:
            ValueError: if its package is not installed.
        """
        self._learn(msgtype)
        text, _ = self._store.generate_msgdef(msgtype, ros_version=2)
        return Definition(text, self._store.hash_rihs01(msgtype))

    def recorded(self, connection: Connection) -> Definition:
        """Describe the type of a recorded topic, as the bag does or else as it is installed.

        Bags of Humble hold no hash, and no definition either where their storage is sqlite3.

        Raises:
            ValueError: if the type is neither described by the bag nor installed, or the bag
                describes it in a way that cannot be understood.
        """
        text = connection.msgdef.data
        if not text:
            return self.of(connection.msgtype)
        try:
            return Definition(text, connection.digest or _hash(connection))
        except Exception as error:  # a parser and a generator may stumble over anything
            raise ValueError(
                f'the bag describes {connection.msgtype} in a way that cannot be understood: '
                f'leave --copy out ({sentence(error)})'
            ) from error

    def _learn(self, msgtype: str) -> None:
        """Take a type and those it holds over from the installed packages."""
        if msgtype in self._store.fielddefs:
            return
        types = get_types_from_msg(_installed(msgtype).read_text(encoding='utf-8'), msgtype)
        for held in _held_types(types[msgtype][1]):
            self._learn(held)
        self._store.register(types)


def type_name(message: type) -> str:
    """Return the name of a message class, such as ``vision_msgs/msg/Detection2DArray``."""
    return f'{message.__module__.partition(".")[0]}/msg/{message.__name__}'


def _hash(connection: Connection) -> str:
    """Compute the hash of a type from the definition in the bag."""
    store = get_typestore(Stores.EMPTY)
    if connection.msgdef.format == MessageDefinitionFormat.IDL:
        store.register(get_types_from_idl(connection.msgdef.data))
    else:
        store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
    return store.hash_rihs01(connection.msgtype)


def _held_types(fields: Fielddefs) -> Iterator[str]:
    """Give the names of the message types among the fields, also those in arrays."""
    for _, description in fields:
        if description[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            description = description[1][0]
        if description[0] == Nodetype.NAME:
            yield str(description[1])


def _installed(msgtype: str) -> Path:
    """Find the .msg file of a type: share/PACKAGE/msg above the Python package of its messages."""
    package, name = msgtype.split('/')[0], msgtype.split('/')[-1]
    spec = find_spec(package) if package.isidentifier() else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for parent in Path(folder).resolve().parents:
            path = parent / 'share' / package / 'msg' / f'{name}.msg'
            if path.is_file():
                return path
    raise ValueError(
        f'the definition of {msgtype} is neither in the bag nor installed: source the workspace '
        f'that has {package}'
    )

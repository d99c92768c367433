"""Keep the benchmark's traffic on this machine, with or without the shared-memory profile.

Imports no ROS, because it must act before rclpy is initialised.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from xml.etree import ElementTree

from anydepth_ros.isolation import isolate
from anydepth_ros.shipped import shipped_file

PROFILE = 'config/fastdds_shm.xml'
PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
OLD_PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
OLD_DISTRIBUTIONS = ('humble', 'jazzy')
_NAMESPACE = 'http://www.eprosima.com'


def keep_local(environment: MutableMapping[str, str], profile: Path | None) -> None:
    """Limit ROS to this machine, whatever the user has set, and choose the transport.

    A benchmark sends more than a network carries. What the user's own profile does cannot be
    known, so it is taken away.

    Args:
        environment: usually ``os.environ``; children inherit it.
        profile: a Fast DDS profile from :func:`write_local_profile`; None for the default
            transport.
    """
    for name in ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY', 'ROS_STATIC_PEERS'):
        environment.pop(name, None)
    isolate(environment)
    for name in (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE):
        environment.pop(name, None)
    if profile is not None:
        old = environment.get('ROS_DISTRO') in OLD_DISTRIBUTIONS
        environment[OLD_PROFILE_VARIABLE if old else PROFILE_VARIABLE] = str(profile)


def write_local_profile(path: Path) -> None:
    """Write a copy of the shipped profile that has no other network than this machine's own.

    A profile replaces the transports that discovery limits, so the limit must stand in it.
    """
    tree = ElementTree.parse(shipped_file(PROFILE))
    for descriptor in tree.iter(f'{{{_NAMESPACE}}}transport_descriptor'):
        if descriptor.findtext(f'{{{_NAMESPACE}}}type') == 'UDPv4':
            interfaces = ElementTree.SubElement(descriptor, f'{{{_NAMESPACE}}}interfaceWhiteList')
            ElementTree.SubElement(interfaces, f'{{{_NAMESPACE}}}address').text = '127.0.0.1'
    ElementTree.register_namespace('', _NAMESPACE)
    tree.write(path, encoding='utf-8', xml_declaration=True)

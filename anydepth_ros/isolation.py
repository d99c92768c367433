"""Keep ROS 2 traffic on this machine; imports no ROS, because it must act before rclpy loads."""

from __future__ import annotations

from collections.abc import MutableMapping
import os


def isolate(environment: MutableMapping[str, str], discovery: str = 'LOCALHOST') -> None:
    """Limit discovery and choose a domain, unless the user has decided.

    Args:
        environment: usually ``os.environ``; children inherit it.
        discovery: ``LOCALHOST``, or ``OFF`` where only this process is to be heard.
    """
    environment.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', discovery)
    environment.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
    if environment.get('ROS_DISTRO') == 'humble':  # it does not know the discovery range yet
        environment.setdefault('ROS_LOCALHOST_ONLY', '1')

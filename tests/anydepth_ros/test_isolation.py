"""ROS traffic stays on this machine unless the user decides otherwise."""

from __future__ import annotations

from anydepth_ros.isolation import isolate


def test_an_empty_environment_is_limited_to_this_machine() -> None:
    environment: dict[str, str] = {}
    isolate(environment)
    assert environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    assert 1 <= int(environment['ROS_DOMAIN_ID']) <= 101
    assert 'ROS_LOCALHOST_ONLY' not in environment


def test_what_the_user_has_set_stays() -> None:
    chosen = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_DOMAIN_ID': '7'}
    environment = dict(chosen)
    isolate(environment, 'OFF')
    assert environment == chosen


def test_humble_is_told_in_its_own_words() -> None:
    environment = {'ROS_DISTRO': 'humble'}
    isolate(environment)
    assert environment['ROS_LOCALHOST_ONLY'] == '1'

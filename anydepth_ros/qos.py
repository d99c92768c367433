"""Quality of service of every topic, in one place."""

from __future__ import annotations

from rcl_interfaces.msg import SetParametersResult
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

RELIABILITIES = {
    'best_effort': ReliabilityPolicy.BEST_EFFORT,
    'reliable': ReliabilityPolicy.RELIABLE,
    'system_default': ReliabilityPolicy.SYSTEM_DEFAULT,
}

# Reliable output can be heard by any subscriber, whatever it asks for.
OUTPUT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)

# A subscriber that comes later still gets the last message.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


# Pictures for people: an old one is worth nothing.
DEBUG = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)


def overridable() -> QoSOverridingOptions:
    """Let parameters ``qos_overrides.<topic>.*`` change history, depth and reliability."""
    return QoSOverridingOptions.with_default_policies()


def overridable_input() -> QoSOverridingOptions:
    """Let parameters change an image subscription, but not into a queue that grows."""
    return QoSOverridingOptions.with_default_policies(callback=_without_a_growing_queue)


def _without_a_growing_queue(profile: QoSProfile) -> SetParametersResult:
    good = profile.history != HistoryPolicy.KEEP_ALL
    reason = '' if good else 'history keep_all would queue old images: use keep_last'
    return SetParametersResult(successful=good, reason=reason)


def image_qos(reliability: str, depth: int = 1) -> QoSProfile:
    """Return the profile of an image topic; one deep by default: the newest frame wins.

    Raises:
        ValueError: if the reliability is unknown; the message lists the known ones.
    """
    if reliability not in RELIABILITIES:
        raise ValueError(
            f'reliability {reliability!r} is not legal: use one of {", ".join(RELIABILITIES)}'
        )
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=RELIABILITIES[reliability],
        durability=DurabilityPolicy.VOLATILE,
    )

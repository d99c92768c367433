"""What the controller tells about a decision; pure conversion, no node."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from anydepth_core.control.signals import Decision

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


@dataclass(frozen=True)
class DetectorState:
    """What the controller knows of the detector.

    Attributes:
        depth_mode: who owns the depth; '' if the detector has not been heard lately.
        reachable: whether its parameter service is there.
    """

    depth_mode: str
    reachable: bool


def decision_message(
    node_name: str,
    decision: Decision,
    top_level: int,
    detector: DetectorState,
    drift: float | None = None,
    profile: str = '',
) -> DiagnosticArray:
    """Make the message that tells a decision.

    Args:
        node_name: begins the name of the status.
        decision: the level and why.
        top_level: the highest of the ladder.
        detector: what is known of it.
        drift: measured over profile latency once the profile is out of date.
        profile: the file with the measured costs, '' if they are assumed.

    Returns:
        One status: OK at the highest level or while somebody else owns the depth, WARN where the
        depth is reduced on purpose or the detector is not there.
    """
    level, text = _judged(decision, top_level, detector)
    values = {
        'Level': str(decision.level),
        'Top level': str(top_level),
        'Reason': decision.reason,
        'Authority': decision.authority,
        'Mode': detector.depth_mode,
        'Profile': drift_words(profile, drift) or profile or 'assumed from the bundle',
        'Measured over profile latency': 'n/a' if drift is None else f'{drift:.2f}',
    }
    status = DiagnosticStatus(
        level=level,
        name=f'{node_name}: decision',
        message=text,
        hardware_id=node_name,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(status=[status])


def drift_words(profile: str, drift: float | None) -> str:
    """Say that a profile is out of date and what to do, '' if it is not."""
    if drift is None:
        return ''
    return (
        f'the profile {profile} is out of date: images take {drift:.2f} times what it says; '
        'measure again with calibrate_on_start'
    )


def _judged(decision: Decision, top_level: int, detector: DetectorState) -> tuple[bytes, str]:
    if not detector.reachable:
        return WARN, 'the detector is not there: its parameter service was not found'
    if not detector.depth_mode:
        return WARN, 'the detector is silent: no stats came lately'
    if detector.depth_mode != 'auto':
        return OK, f'depth_mode is {detector.depth_mode}: the depth is left as it is'
    if decision.level < top_level:
        return WARN, f'degraded on purpose: {decision.reason}'
    return OK, decision.reason

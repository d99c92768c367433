"""What the controller tells about the sensors it uses; pure conversion, no node."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from anydepth_core.control.targets import Targets
from anydepth_core.sensing.report import described
from anydepth_core.sensing.sample import Sample


def sensors_message(
    node_name: str, sample: Sample | None, problems: Sequence[str]
) -> DiagnosticArray:
    """Make the message that tells what the sensors say.

    Args:
        node_name: begins the name of the status.
        sample: the newest of this machine; None if they are not read.
        problems: what is wrong, in words.

    Returns:
        One status: WARN with the first problem, else OK. What is unknown is 'n/a'.
    """
    values = {} if sample is None else described(sample)
    values['Problems'] = '; '.join(problems) or 'none'
    if sample is not None:
        values['Not on this device'] = '; '.join(sample.absent) or 'none'
    more = f' (and {len(problems) - 1} more)' if len(problems) > 1 else ''
    calm = 'not read: sensors is false' if sample is None else 'the sensors answer'
    status = DiagnosticStatus(
        level=DiagnosticStatus.WARN if problems else DiagnosticStatus.OK,
        name=f'{node_name}: sensors',
        message=f'{problems[0]}{more}' if problems else calm,
        hardware_id=node_name,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(status=[status])


def unheard_limits(
    targets: Targets, own: Collection[str], known: Collection[str]
) -> tuple[str, ...]:
    """Return what is wrong with temperature limits that have no temperature to look at.

    Args:
        targets: in force.
        own: zones with limits of their own.
        known: zones whose temperature is known.
    """
    zones = ', '.join(sorted(known)) or 'none'
    missing = tuple(
        f'zone_limits names {zone}, but its temperature is not known; known zones: {zones}'
        for zone in own
        if zone not in known
    )
    limited = targets.temperature_soft_c or targets.temperature_hard_c
    if limited and not known and not missing:
        return ('there is a temperature limit, but no temperature is known',)
    return missing

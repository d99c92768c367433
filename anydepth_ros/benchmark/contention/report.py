"""The figures of the closed loop as tables and as JSON, its frames as CSV; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
import csv
from dataclasses import asdict
import io
import json

from anydepth_core.text_table import aligned
from anydepth_ros.benchmark.contention.figures import (
    Calibration,
    ContentionFigures,
    IN_A_ROW,
    Onset,
    PhaseFigures,
    Release,
    ROOM,
)
from anydepth_ros.benchmark.contention.series import OURS, Round
from anydepth_ros.benchmark.figures import Spread
from anydepth_ros.benchmark.settings import NodeSettings

UNKNOWN = '-'
COLUMNS = ('policy', 'round', 'phase', 'published_s', 'latency_ms', 'age_ms', 'level')
_EXPLANATION = f"""\
left out: sent but not answered (a newer image came, or it was lost). late: answered, but over the
deadline. back under: the frame that completes {IN_A_ROW} frames in a row within the deadline after
the first late one since the hogs began; it is known at that frame, and the {IN_A_ROW} are counted.
'never late': there was no late frame; 'not': the hogs ended before."""


def deadline_text(deadline_ms: float, calibrated: Calibration | None) -> str:
    """Say what the deadline is and where it comes from."""
    text = f'deadline {deadline_ms:.1f} ms from callback to publish'
    if calibrated is None:
        return f'{text}, as given'
    text += (
        f': {ROOM:g} times the larger of {calibrated.top_calm_p95_ms:.1f} ms (p95 of the top '
        f'level when calm) and {calibrated.base_hogs_p95_ms:.1f} ms (p95 of level 0 with hogs)\n'
        f'the top level with hogs takes {calibrated.top_hogs_p50_ms:.1f} ms (p50)'
    )
    if calibrated.bites:
        return text
    return f'{text}, which fits: there is little to control, try more hogs or a higher --rate'


def format_report(figures: ContentionFigures) -> str:
    """Return everything for people."""
    cpu = figures.controller_cpu
    return '\n'.join(
        [
            aligned(
                [_PHASE_TITLES, *(_phase_row(one, figures.deadline_ms) for one in figures.phases)],
                left=2,
            ),
            '',
            aligned([_ONSET_TITLES, *map(_onset_row, figures.onsets)], left=2),
            '',
            *(_release_line(one) for one in figures.releases),
            f'controller: {UNKNOWN if cpu is None else f"{100 * cpu:.1f}"} % of one processor',
            _conclusion(figures),
            _EXPLANATION,
        ]
    )


def to_json(
    settings: NodeSettings,
    model: str,
    middleware: str,
    figures: ContentionFigures,
    rounds: Sequence[Round],
) -> str:
    """Return the figures as JSON, with what the controller told in every round."""
    content = {
        'model': model,
        'middleware': middleware,
        'settings': asdict(settings),
        **asdict(figures),
        'decisions': [
            {'round': one.number + 1, **asdict(told)} for one in rounds for told in one.decisions
        ],
    }
    return json.dumps(content, indent=2) + '\n'


def to_csv(rounds: Sequence[Round]) -> str:
    """Return every answered frame as a row under ``COLUMNS``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for one in rounds:
        for answer in one.answers:
            writer.writerow(
                (
                    one.policy,
                    one.number + 1,
                    one.phase_of(answer.published_s),
                    f'{answer.published_s:.4f}',
                    f'{answer.latency_ms:.3f}',
                    f'{answer.age_ms:.3f}',
                    '' if answer.level is None else answer.level,
                )
            )
    return text.getvalue()


_PHASE_TITLES = (
    'policy',
    'phase',
    'answered',
    'left out',
    'late, %',
    'ms p50 / p95 / worst',
    'p95/deadline',
    'age p50 / p95',
    'mean AP',
    'changes/min',
    'levels, % from 0 up',
)


def _phase_row(one: PhaseFigures, deadline_ms: float) -> tuple[str, ...]:
    highest = max([0, *one.levels])
    shares = [f'{100 * one.levels.get(level, 0.0):.0f}' for level in range(highest + 1)]
    if -1 in one.levels:
        shares.append(f'none {100 * one.levels[-1]:.0f}')
    return (
        one.policy,
        one.phase,
        str(one.frames),
        str(one.left_out),
        UNKNOWN if one.late is None else f'{100 * one.late:.1f}',
        _spread(one.latency_ms),
        UNKNOWN if one.latency_ms is None else f'{one.latency_ms.p95 / deadline_ms:.2f}',
        UNKNOWN if one.age_ms is None else f'{one.age_ms.p50:.0f} / {one.age_ms.p95:.0f}',
        UNKNOWN if one.mean_ap is None else f'{one.mean_ap:.3f}',
        f'{one.changes_per_minute:.1f}',
        ' '.join(shares),
    )


_ONSET_TITLES = (
    'since the hogs began',
    'round',
    'first late, frame (ms)',
    'lower level told (ms)',
    'served (ms)',
    'back under, frame (ms)',
    'of',
    'late after, %',
)


def _onset_row(one: Onset) -> tuple[str, ...]:
    late = UNKNOWN if one.late_after is None else f'{100 * one.late_after:.1f}'
    return (
        one.policy,
        str(one.number + 1),
        _numbered(one.first_late, one.first_late_ms),
        _whole(one.lower_decided_ms),
        _whole(one.lower_served_ms),
        _back(one),
        str(one.frames),
        late,
    )


def _back(one: Onset) -> str:
    if one.first_late is None:
        return 'never late'
    return 'not' if one.back is None else _numbered(one.back, one.back_ms)


def _release_line(one: Release) -> str:
    when = 'not before the end' if one.top_s is None else f'{one.top_s:.1f} s after the hogs'
    return f'{OURS}, round {one.number + 1}: back at the top level {when}'


def _conclusion(figures: ContentionFigures) -> str:
    ours = [one for one in figures.onsets if one.policy == OURS]
    late = [one for one in ours if one.first_late is not None]
    back = [one.back for one in late if one.back is not None]
    frames = ', '.join(map(str, back)) or UNKNOWN
    return (
        f'back under the deadline in {len(back)} of {len(late)} hog phases that left it '
        f'({len(ours)} in all), with frame {frames}'
    )


def _numbered(number: int | None, milliseconds: float | None) -> str:
    return UNKNOWN if number is None else f'{number} ({_whole(milliseconds)})'


def _whole(value: float | None) -> str:
    return UNKNOWN if value is None else f'{value:.0f}'


def _spread(value: Spread | None) -> str:
    if value is None:
        return UNKNOWN
    return f'{value.p50:.1f} / {value.p95:.1f} / {value.worst:.1f}'

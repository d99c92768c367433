"""The figures as a table with a column per run, and as JSON; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
import json

from anydepth_core.text_table import aligned
from anydepth_ros.benchmark.figures import growth_percent, RunFigures, Spread
from anydepth_ros.benchmark.settings import NodeSettings

_STEP_TITLES = {
    'age_ms': 'age when published',
    'received_age_ms': '  age when received',
    'total_ms': 'callback to publish',
    'inference_ms': '  inference',
    'overhead_ms': '  overhead (all but inference)',
    'wait_ms': '    waiting for the worker',
    'overhead_without_wait_ms': '    all but waiting',
    'preprocess_ms': '      decoding and preprocessing',
    'postprocess_ms': '      postprocessing',
    'publish_ms': '      making and publishing',
}
UNKNOWN = '-'


def format_table(runs: Sequence[RunFigures]) -> str:
    """Return one aligned line per figure."""
    columns = [_column(run) for run in runs]
    return aligned([(title, *(one[title] for one in columns)) for title in columns[0]], left=1)


def to_json(
    settings: NodeSettings, model: str, middleware: str, runs: Sequence[RunFigures]
) -> str:
    """Return everything as JSON."""
    content = {
        'model': model,
        'middleware': middleware,
        'settings': asdict(settings),
        'runs': [
            {**asdict(run), 'memory_growth_percent': growth_percent(run.load)} for run in runs
        ],
    }
    return json.dumps(content, indent=2) + '\n'


def _column(run: RunFigures) -> dict[str, str]:
    bound, load = run.bound, run.load
    return {
        'images': f'{run.size[0]}x{run.size[1]}',
        'wanted rate, Hz': f'{run.rate_hz:.1f}',
        'sent': str(run.sent),
        'refused by the middleware': str(run.refused),
        'received': str(run.received),
        'published': str(run.published),
        'dropped (newer one came, or lost)': _number(run.dropped),
        'dropped as too old': _number(run.too_old),
        'errors': _number(run.errors),
        'not accounted for': str(run.lost),
        'period, sent / received, ms': f'{_number(run.period_ms, ".1f")} / '
        f'{_number(run.received_period_ms, ".1f")}',
        'milliseconds': 'p50 / p95 / worst',
        **{title: _spread(run.steps.get(name)) for name, title in _STEP_TITLES.items()},
        'middleware: take, deserialise': _spread(run.take_ms),
        'bound: inference + period + overhead': _number(bound.bound_ms if bound else None, '.1f'),
        '  age beyond it': _spread(bound.beyond if bound else None),
        'detections, mean / most': f'{_number(run.detections_mean, ".1f")} / '
        f'{_number(run.detections_max)}',
        'memory after 10 s, MB': _number(load.memory_10s_mb, '.1f'),
        'memory at the end, MB': _number(load.memory_end_mb, '.1f'),
        '  growth, percent': _number(growth_percent(load), '+.2f'),
        'processor seconds': _number(load.cpu_s, '.1f'),
    }


def _spread(value: Spread | None) -> str:
    if value is None:
        return UNKNOWN
    return f'{value.p50:.2f} / {value.p95:.2f} / {value.worst:.2f}'


def _number(value: float | None, form: str = '') -> str:
    return UNKNOWN if value is None else format(value, form)

"""Write the tables of docs/ros.md from the declarations of the nodes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
import re

from rclpy.qos import QoSProfile

from anydepth_core.files import write_atomically
from anydepth_ros.controller_parameters import CONTROLLER_DECLARATIONS
from anydepth_ros.declaration import Declaration
from anydepth_ros.diagnostics import TASKS
from anydepth_ros.parameters import camera_depth, DECLARATIONS
from anydepth_ros.topics import STATS_KEYS, TOPICS

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'ros.md'
END = '<!-- end -->'


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(heading), ['---'] * len(list(heading)), *map(list, rows)]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def parameters() -> str:
    """Return the table of the detector's parameters."""
    return _parameters((*DECLARATIONS, camera_depth('<camera>')))


def controller() -> str:
    """Return the table of the controller's parameters."""
    return _parameters(CONTROLLER_DECLARATIONS)


def _parameters(declarations: Iterable[Declaration]) -> str:
    rows = [_parameter(one) for one in declarations]
    return table(('parameter', 'default', 'changes', 'what'), rows)


def _parameter(one: Declaration) -> list[str]:
    default = str(one.default).lower() if isinstance(one.default, bool) else str(one.default)
    shown = {'()': '[]', '': "''"}.get(default, default)
    limits = '' if one.limits is None else f' ({one.limits[0]:g} to {one.limits[1]:g})'
    options = f' ({", ".join(one.options)})' if one.options else ''
    return [f'`{one.name}`', f'`{shown}`', one.change, one.description + limits + options]


def topics() -> str:
    """Return the table of the topics."""
    rows = [
        [f'`{topic.name}`', _type(topic.message), _qos(topic.profile), topic.description]
        for topic in TOPICS
    ]
    return table(('topic', 'type', 'quality of service', 'what'), rows)


def _type(message: type) -> str:
    return f'{message.__module__.split(".")[0]}/{message.__name__}'


def _qos(profile: QoSProfile) -> str:
    words = [profile.reliability.name, profile.durability.name]
    return f'{", ".join(words).lower().replace("_", " ")}, keep last {profile.depth}'


def stats() -> str:
    """Return the table of the per-frame figures."""
    return table(('key', 'what'), ([f'`{key}`', what] for key, what in STATS_KEYS.items()))


def diagnostics() -> str:
    """Return the table of the statuses and, below, of their values."""
    levels = table(
        ('status', 'OK', 'WARN', 'ERROR'),
        ([f'`detector: {one.name}`', one.ok, one.warn, one.error or '-'] for one in TASKS),
    )
    values = table(
        ('status', 'value', 'what'),
        ([f'`{one.name}`', key, what] for one in TASKS for key, what in one.keys.items()),
    )
    return f'{levels}\n{values}'


TABLES = {
    'topics': topics,
    'parameters': parameters,
    'controller': controller,
    'stats': stats,
    'diagnostics': diagnostics,
}


def updated(text: str) -> str:
    """Return the page with the present tables between their markers.

    Raises:
        ValueError: if a table has no place in the page.
    """
    for name, make in TABLES.items():
        start = f'<!-- table {name}: tools/interface_tables.py -->\n'
        pattern = re.escape(start) + '.*?' + re.escape(END)
        if len(re.findall(pattern, text, flags=re.DOTALL)) != 1:
            raise ValueError(f'the page has no place for the table {name}: {start.strip()}')
        content = start + make() + END
        text = re.sub(pattern, lambda _, content=content: content, text, flags=re.DOTALL)
    return text


if __name__ == '__main__':
    write_atomically(PAGE, updated(PAGE.read_text(encoding='utf-8')).encode())

"""Write the parameter table of the README from the declarations of the node."""

from __future__ import annotations

from pathlib import Path

from anydepth_core.files import write_atomically
from anydepth_ros.parameters import DECLARATIONS

README = Path(__file__).resolve().parents[1] / 'README.md'
START, END = '<!-- parameters: tools/parameter_table.py -->\n', '<!-- end of parameters -->'


def table() -> str:
    """Return the table in Markdown."""
    lines = ['| parameter | default | changes | what |', '|---|---|---|---|']
    for one in DECLARATIONS:
        limits = '' if one.limits is None else f' ({one.limits[0]} to {one.limits[1]})'
        default = str(one.default).lower() if isinstance(one.default, bool) else one.default
        lines.append(f'| `{one.name}` | `{default}` | {one.change} | {one.description}{limits} |')
    return '\n'.join(lines) + '\n'


def updated(text: str) -> str:
    """Return a README text with the present table between the two markers."""
    before, rest = text.split(START)
    return before + START + table() + END + rest.split(END)[1]


if __name__ == '__main__':
    write_atomically(README, updated(README.read_text(encoding='utf-8')).encode())

"""Recorded signals: CSV or JSON lines, one record per decision, and the profile they imply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
import csv
import io
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from anydepth_core.control.profile import LevelProfile, Profile
from anydepth_core.control.signals import LATENCY_RANGE_MS, Signals, within

S = TypeVar('S')
T = TypeVar('T')

COLUMNS = (
    'time_s',
    'latency_ms',
    'latency_level',
    'rate_hz',
    'power_w',
    'battery',
    'charging',
    'over_current',
)
ZONE_PREFIX = 'temp:'
"""Before the name of a zone, in the name of a column with its temperature."""

TIME_RANGE_S = (-1e18, 1e18)  # what the law takes for a time
HIGHEST_LEVEL = 99  # no ladder is that long; a typing error must not make one
_TRUTH = {'true': True, '1': True, 'false': False, '0': False}
_UNKNOWN = ('', 'nan', 'none', 'null')


def load_records(path: str | Path) -> tuple[Signals, ...]:
    """Read a recording, CSV or JSON lines by the end of its name.

    The fields are those of `Signals`; temperatures are columns such as ``temp:gpu``. Only
    ``time_s`` must be there; what is empty, null or not there is unknown.

    Raises:
        ValueError: if the file cannot be read, or holds anything else; the message names the line.
    """
    path = Path(path)
    parse = PARSERS.get(path.suffix.lower())
    if parse is None or path.is_dir():
        raise ValueError(
            f'{path} is no recording: give a file that ends in .csv or .jsonl, or a rosbag'
        )
    try:
        text = path.read_text(encoding='utf-8-sig')
    except FileNotFoundError:
        raise ValueError(f'{path} does not exist: check the path') from None
    except UnicodeDecodeError:
        raise ValueError(f'{path} is no text in UTF-8') from None
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f'{path} is no recording: {error}') from None


def parse_csv(text: str) -> tuple[Signals, ...]:
    """Read records from CSV with a heading.

    Raises:
        ValueError: in one line, with the number of the line.
    """
    reader = csv.reader(io.StringIO(text, newline=''))
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise ValueError('it is empty')
        _at_line(1, _check_columns, header)
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f'line {reader.line_num}: {error}') from None
    return _records(rows, lambda row: _row(header, row))


def parse_json_lines(text: str) -> tuple[Signals, ...]:
    """Read records from JSON objects, one a line.

    Raises:
        ValueError: in one line, with the number of the line.
    """
    lines = [(number, line) for number, line in enumerate(text.split('\n'), 1) if line.strip()]
    return _records(lines, _object)


PARSERS: dict[str, Callable[[str], tuple[Signals, ...]]] = {
    '.csv': parse_csv,
    '.jsonl': parse_json_lines,
}


def measured_profile(records: Sequence[Signals]) -> Profile:
    """Make a profile from what a recording says of each level it served.

    Levels between that were never served are interpolated; energy and AP stay unknown.

    Raises:
        ValueError: if no record has a latency of level 0: nothing tells what is below the others.
    """
    served: dict[int, list[float]] = {}
    for record in records:
        latency_ms = within(record.latency_ms, LATENCY_RANGE_MS)
        if record.latency_level is not None and latency_ms is not None:
            served.setdefault(record.latency_level, []).append(latency_ms)
    if 0 not in served:
        raise ValueError(
            'no record has a latency_ms of latency_level 0, so its cost is unknown: '
            'give a profile with --profile'
        )
    known = sorted(served)
    quantiles = np.array([np.percentile(served[level], (50, 95)) for level in known])
    levels = np.arange(known[-1] + 1)
    medians, tails = (np.interp(levels, known, column).tolist() for column in quantiles.T)
    return Profile(
        tuple(
            LevelProfile(f'level {level}', median, max(tail, median))
            for level, (median, tail) in enumerate(zip(medians, tails))
        ),
        'the recording itself',
    )


def _records(
    rows: Iterable[tuple[int, T]], read: Callable[[T], Mapping[str, Any]]
) -> tuple[Signals, ...]:
    records = tuple(_at_line(number, lambda raw: _signals(read(raw)), raw) for number, raw in rows)
    if not records:
        raise ValueError('it holds no record')
    return records


def _at_line(number: int, read: Callable[[T], S], raw: T) -> S:
    try:
        return read(raw)
    except ValueError as error:
        raise ValueError(f'line {number}: {error}') from None


def _check_columns(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS and not _zone(name)]
    if unknown:
        known = ', '.join((*COLUMNS, f'{ZONE_PREFIX}ZONE'))
        raise ValueError(f'unknown column {_shown(unknown[0])}; known: {known}')
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise ValueError(f'column {_shown(twice[0])} is there twice')
    if 'time_s' not in names:
        raise ValueError('time_s is missing')


def _row(header: Sequence[str], row: Sequence[str]) -> Mapping[str, Any]:
    if len(row) != len(header):
        raise ValueError(f'{len(row)} values for {len(header)} columns')
    return dict(zip(header, row))


def _object(line: str) -> Mapping[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):  # also numbers of more digits than Python converts
        raise ValueError(f'no JSON object: {_shown(line)}') from None
    if not isinstance(content, dict):
        raise ValueError(f'no JSON object: {_shown(line)}')
    _check_columns(list(content))
    return content


def _signals(row: Mapping[str, Any]) -> Signals:
    time_s = within(_number('time_s', row['time_s']), TIME_RANGE_S)
    if time_s is None:
        raise ValueError(f'time_s must be a number of seconds, not {_shown(row["time_s"])}')
    zones = {name: _number(name, value) for name, value in row.items() if _zone(name)}
    return Signals(
        time_s=time_s,
        latency_ms=_number('latency_ms', row.get('latency_ms')),
        latency_level=_level(row.get('latency_level')),
        rate_hz=_number('rate_hz', row.get('rate_hz')),
        temperatures_c={_zone(name): value for name, value in zones.items() if value is not None},
        power_w=_number('power_w', row.get('power_w')),
        battery=_number('battery', row.get('battery')),
        charging=_flag('charging', row.get('charging')),
        over_current=_flag('over_current', row.get('over_current')),
    )


def _zone(column: str) -> str:
    return column[len(ZONE_PREFIX) :] if column.startswith(ZONE_PREFIX) else ''


def _number(name: str, value: Any) -> float | None:
    if _is_unknown(value):
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f'{name} must be a number, not {_shown(value)}') from None


def _level(value: Any) -> int | None:
    number = _number('latency_level', value)
    if number is None:
        return None
    if not (0 <= number <= HIGHEST_LEVEL and number == int(number)):
        raise ValueError(
            f'latency_level must be a whole number of 0 to {HIGHEST_LEVEL}, not {_shown(value)}'
        )
    return int(number)


def _flag(name: str, value: Any) -> bool | None:
    if _is_unknown(value):
        return None
    flag = _TRUTH.get(str(value).strip().lower())
    if flag is None:
        raise ValueError(f'{name} must be true or false, not {_shown(value)}')
    return flag


def _is_unknown(value: Any) -> bool:
    return not isinstance(value, (list, dict)) and str(value).strip().lower() in _UNKNOWN


def _shown(value: Any) -> str:
    """Write a value on one line, and not endlessly."""
    if isinstance(value, (list, dict)):
        return f'a {type(value).__name__}'
    text = ascii(value)
    return text if len(text) <= 40 else f'{text[:37]}...'

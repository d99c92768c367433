"""Recordings are read as they are, or refused in one line that names the line."""

from __future__ import annotations

from collections.abc import Callable
import json
import math
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from anydepth_core.control.recorded import (
    COLUMNS,
    load_records,
    measured_profile,
    parse_csv,
    parse_json_lines,
)
from anydepth_core.control.signals import sanitised, Signals

PARSERS = [parse_csv, parse_json_lines]
CELLS = st.one_of(
    st.sampled_from(
        ['', 'nan', 'inf', '-1', '2', '2.0', '1e999', 'true', 'False', 'x', '"', '\0']
    ),
    st.text(max_size=5),
    st.floats().map(str),
)
HEADERS = st.lists(
    st.one_of(st.sampled_from([*COLUMNS, 'temp:gpu', 'temp:']), st.text(max_size=4)), max_size=5
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=2),
)
OBJECTS = st.dictionaries(
    st.one_of(st.sampled_from([*COLUMNS, 'temp:cpu']), st.text(max_size=3)), JSON, max_size=5
)


def check(parse: Callable[[str], tuple[Signals, ...]], text: str) -> None:
    """Records that the law can use, or one line of error."""
    try:
        records = parse(text)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert records
    for record in records:
        assert sanitised(record, 100).time_s == record.time_s


@pytest.mark.parametrize('parse', PARSERS)
@settings(max_examples=150, deadline=None)
@given(text=st.text())
def test_any_text_gives_records_or_one_line(
    parse: Callable[[str], tuple[Signals, ...]], text: str
) -> None:
    check(parse, text)
    check(parse, f'time_s,battery\n{text}')


@settings(max_examples=200, deadline=None)
@given(header=HEADERS, rows=st.lists(st.lists(CELLS, max_size=5), max_size=4))
def test_any_table_gives_records_or_one_line(header: list[str], rows: list[list[str]]) -> None:
    lines = [['time_s', *header], *([str(i), *row] for i, row in enumerate(rows))]
    check(parse_csv, '\n'.join(','.join(line) for line in lines))


@settings(max_examples=200, deadline=None)
@given(objects=st.lists(OBJECTS, max_size=3))
def test_any_objects_give_records_or_one_line(objects: list[dict]) -> None:
    check(parse_json_lines, '\n'.join(json.dumps({'time_s': 1, **item}) for item in objects))


@pytest.mark.parametrize('line', ['[' * 100000, '9' * 5000, '{"time_s": ' + '9' * 5000 + '}'])
def test_json_that_python_gives_up_on_is_one_line(line: str) -> None:
    with pytest.raises(ValueError, match=r'^line 1: no JSON object: .{1,40}$'):
        parse_json_lines(line)


def test_both_formats_say_the_same() -> None:
    csv_text = (
        'time_s, latency_ms,latency_level,rate_hz,power_w,battery,charging,over_current,'
        'temp:gpu,temp:cpu\r\n'
        '0.5,31.25,2,10,7.5,0.8,false,0,61.5,\r\n'
        '\r\n'
        '0.6,,,nan,,,True,1,,50\r\n'
    )
    objects = [
        {
            'time_s': 0.5,
            'latency_ms': 31.25,
            'latency_level': 2,
            'rate_hz': 10,
            'power_w': 7.5,
            'battery': 0.8,
            'charging': False,
            'over_current': False,
            'temp:gpu': 61.5,
            'temp:cpu': None,
        },
        {
            'time_s': 0.6,
            'rate_hz': math.nan,
            'charging': True,
            'over_current': True,
            'temp:cpu': 50,
        },
    ]
    expected = (
        Signals(0.5, 31.25, 2, 10.0, {'gpu': 61.5}, 7.5, 0.8, False, False),
        Signals(0.6, temperatures_c={'cpu': 50.0}, charging=True, over_current=True),
    )
    assert parse_csv(csv_text) == expected
    assert parse_json_lines('\n\n'.join(map(json.dumps, objects))) == expected


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'it is empty'),
        ('time_s\n', 'it holds no record'),
        ('latency_ms\n1\n', 'line 1: time_s is missing'),
        ('time_s,latency\n', "line 1: unknown column 'latency'; known: time_s, latency_ms"),
        ('time_s,temp:\n', "line 1: unknown column 'temp:'"),
        ('time_s,time_s\n', "line 1: column 'time_s' is there twice"),
        ('time_s,battery\n1,2\n\n2\n', 'line 4: 1 values for 2 columns'),
        ('time_s\n1\nsoon\n', "line 3: time_s must be a number, not 'soon'"),
        ('time_s\n1\ninf\n', "line 3: time_s must be a number of seconds, not 'inf'"),
        ('time_s\n1e300\n', "line 2: time_s must be a number of seconds, not '1e300'"),
        ('time_s,latency_level\n1,1.5\n', 'line 2: latency_level must be a whole number'),
        ('time_s,latency_level\n1,1e12\n', 'latency_level must be a whole number of 0 to 99'),
        ('time_s,charging\n1,maybe\n', "line 2: charging must be true or false, not 'maybe'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_csv(text)
    assert str(caught.value).startswith(message) or message in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"time_s": 1}\n\n[1]', r'line 3: no JSON object: '),
        ('{"time_s": true}', 'line 1: time_s must be a number, not True'),
        ('{"time_s": 1, "battery": [0.5]}', 'line 1: battery must be a number, not a list'),
        ('{"time_s": 1, "volts": 3}', "line 1: unknown column 'volts'"),
        ('\n', 'it holds no record'),
    ],
)
def test_json_lines_are_refused_alike(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json_lines(text)


def test_files_are_read_by_the_end_of_their_name(tmp_path: Path) -> None:
    path = tmp_path / 'trace.CSV'
    path.write_bytes(b'\xef\xbb\xbftime_s,battery\n1,0.5\n')
    assert load_records(path) == (Signals(1.0, battery=0.5),)
    lines = tmp_path / 'trace.jsonl'
    lines.write_text('{"time_s": 1, "battery": 0.5}')
    assert load_records(lines) == load_records(path)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('trace.csv', None, 'does not exist'),
        ('trace.txt', b'time_s\n1\n', 'give a file that ends in .csv or .jsonl'),
        ('trace.csv', b'\xff\xfe\xff', 'is no text in UTF-8'),
        ('trace.jsonl', b'{', 'is no recording: line 1: no JSON object'),
    ],
)
def test_files_that_are_no_recording(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load_records(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_the_profile_is_what_was_served_and_between_what_lies_between() -> None:
    records = [Signals(float(i), 10.0 + i % 3, 0) for i in range(30)]
    records += [Signals(30.0, 31.0, 2), Signals(31.0, math.nan, 4), Signals(32.0, 7.0)]
    levels = measured_profile(records).levels
    assert [level.latency_ms for level in levels] == [11.0, 21.0, 31.0]
    assert levels[0].latency_p95_ms == 12.0
    assert levels[1].latency_p95_ms == pytest.approx(21.5)


def test_a_level_0_that_was_never_served_has_no_cost() -> None:
    with pytest.raises(ValueError, match='--profile'):
        measured_profile([Signals(0.0, 30.0, 1)])

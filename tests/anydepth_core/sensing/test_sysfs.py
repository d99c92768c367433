from __future__ import annotations

import math
import os

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.sensing.sysfs import (
    Counters,
    find,
    Found,
    plausible,
    read_int,
    read_name,
    read_text,
)


@pytest.mark.parametrize(
    ('content', 'value'),
    [
        (b'42\n', 42),
        (b' -256\n', -256),
        (b'+7', 7),
        (b'', None),
        (b'nan\n', None),
        (b'1e3\n', None),
        (b'1_000\n', None),
        (b'0x10\n', None),
        (b'12 13\n', None),
        ('٤٢'.encode(), None),
        (b'9' * 5000, None),
    ],
)
def test_only_one_plain_integer_is_a_number(tmp_path, content, value):
    path = tmp_path / 'file'
    path.write_bytes(content)
    assert read_int(str(path)) == value


@pytest.mark.parametrize('content', [b'', b'\n', b'gpu\nthermal', b'x' * 65, b'\xff\xfe', b'a\0b'])
def test_a_name_is_one_short_printable_line(tmp_path, content):
    path = tmp_path / 'file'
    path.write_bytes(content)
    assert read_name(str(path)) is None
    path.write_bytes(b'INT3400 Thermal\n')
    assert read_name(str(path)) == 'INT3400 Thermal'


def test_what_is_no_readable_file_is_unknown(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    for name in ('missing', 'folder', 'loop', 'folder/below', 'missing/below'):
        assert read_text(str(tmp_path / name)) is None


def test_a_driver_that_refuses_to_answer_is_unknown(tmp_path, monkeypatch):
    path = tmp_path / 'temp'
    path.write_text('42')

    def refuse(handle, size):
        raise BlockingIOError(11, 'Resource temporarily unavailable')

    monkeypatch.setattr(os, 'read', refuse)
    before = len(os.listdir('/proc/self/fd'))
    assert read_int(str(path)) is None
    assert len(os.listdir('/proc/self/fd')) == before


@pytest.mark.timeout(10)
def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / 'temp')
    assert read_int(str(tmp_path / 'temp')) is None


def test_a_root_with_pattern_characters_is_taken_as_it_is(tmp_path):
    root = tmp_path / 'a[1]*'
    (root / 'zone0').mkdir(parents=True)
    assert find(root, 'zone*') == [str(root / 'zone0')]


@given(st.none() | st.floats(), st.floats(-10, 0), st.floats(0, 10))
def test_plausible_values_are_finite_and_in_range(value, low, high):
    result = plausible(value, low, high)
    if result is None:
        assert value is None or math.isnan(value) or value < low or value > high
    else:
        assert result == value and low <= result <= high


def test_a_search_is_repeated_now_and_then():
    results = iter('abc')
    found = Found(lambda: next(results), every=3)
    assert [found() for _ in range(7)] == list('aaabbbc')


def test_a_counter_is_compared_with_the_last_time_it_could_be_read(tmp_path):
    path = tmp_path / 'count'
    counters = Counters()
    seen = []
    for content in ('3', '3', '4', 'junk', '6', '1', '1', '2'):
        path.write_text(content)
        seen.append(counters.rose([str(path)]))
    assert seen == [None, False, True, None, True, False, False, True]

"""Messages between two that were taken are counted by their numbers."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_ros.missed import SequenceNumbers


def info(number: int | None, publisher: bytes = b'a') -> dict[str, Any]:
    return {'publication_sequence_number': number, 'publisher_gid': {'data': publisher}}


@given(st.lists(st.integers(1, 50), min_size=1))
def test_what_was_left_out_between_the_first_and_the_last_is_counted(steps: list[int]) -> None:
    numbers = SequenceNumbers()
    number, missed = 1, numbers.missed(info(1))
    for step in steps:
        number += step
        missed += numbers.missed(info(number))
    assert missed == number - 1 - len(steps)


@pytest.mark.parametrize(
    'second',
    [info(1), info(7, b'b'), info(None), None, {}],
    ids=['restarted', 'other publisher', 'no number', 'no info', 'Humble'],
)
def test_nothing_is_counted_where_the_numbers_tell_nothing(second: dict[str, Any] | None) -> None:
    numbers = SequenceNumbers()
    assert numbers.missed(info(5)) == 0
    assert numbers.missed(second) == 0


def test_a_restart_forgets_the_last_number() -> None:
    numbers = SequenceNumbers()
    numbers.missed(info(5))
    numbers.restart()
    assert numbers.missed(info(90)) == 0
    assert numbers.missed(info(92)) == 1

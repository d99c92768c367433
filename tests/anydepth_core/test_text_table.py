"""Tables as plain text: columns line up, nothing trails."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anydepth_core.text_table import aligned

CELLS = st.text(st.characters(codec='ascii', categories=['L', 'N']), min_size=1, max_size=8)
TABLES = st.integers(1, 4).flatmap(
    lambda columns: st.lists(
        st.lists(CELLS, min_size=columns, max_size=columns), min_size=1, max_size=5
    )
)


def test_the_first_columns_are_aligned_to_the_left() -> None:
    rows = [('level', 'AP'), ('0', '0.643'), ('10', '0.7')]
    assert aligned(rows, left=1) == 'level     AP\n0      0.643\n10       0.7'
    assert aligned(rows) == 'level     AP\n    0  0.643\n   10    0.7'


@given(TABLES, st.integers(0, 4))
def test_every_line_holds_its_cells_and_no_blanks_at_its_end(
    rows: list[list[str]], left: int
) -> None:
    lines = aligned(rows, left).split('\n')
    assert [line.split() for line in lines] == rows
    assert all(line == line.rstrip() for line in lines)
    if left == 0:
        assert len({len(line) for line in lines}) == 1

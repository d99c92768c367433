"""The README says what the code does."""

from pathlib import Path
import re
import runpy

ROOT = Path(__file__).parents[2]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def test_parameter_table_is_that_of_the_declarations():
    updated = runpy.run_path(str(ROOT / 'tools' / 'parameter_table.py'))['updated']
    assert updated(README) == README, 'run tools/parameter_table.py'


def test_linked_files_exist():
    links = re.findall(r'\]\((?!http)([^)#]+)\)', README)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_no_placeholder_is_left():
    assert not re.findall(r'^[A-Z]+_[A-Z_]+$', README, flags=re.MULTILINE)

"""README and documentation say what the code does."""

from __future__ import annotations

from pathlib import Path
import re
import runpy

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def test_the_tables_are_those_of_the_declarations() -> None:
    page = (ROOT / 'docs' / 'ros.md').read_text(encoding='utf-8')
    updated = runpy.run_path(str(ROOT / 'tools' / 'interface_tables.py'))['updated']
    assert updated(page) == page, 'run tools/interface_tables.py'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    links = re.findall(r'\]\((?!http)([^)#]*)(#[^)]*)?\)', page.read_text(encoding='utf-8'))
    missing = [link for link, _ in links if link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_linked_headings_exist(page: Path) -> None:
    for link, anchor in re.findall(
        r'\]\((?!http)([^)#]*)#([^)]*)\)', page.read_text(encoding='utf-8')
    ):
        target = page.parent / link if link else page
        headings = re.findall(r'^#+ (.*)$', target.read_text(encoding='utf-8'), flags=re.MULTILINE)
        slugs = {re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-') for text in headings}
        assert anchor in slugs, f'{page.name}: {link}#{anchor}'


def test_no_placeholder_is_left() -> None:
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        assert not re.findall(r'^[A-Z]+_[A-Z_]+$', text, flags=re.MULTILINE), page.name

"""The troubleshooting page quotes the node word by word."""

from __future__ import annotations

import ast
from pathlib import Path
import re

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'troubleshooting.md'
# A quoted sentence of the node: words with a gap for a name or number.
QUOTED = re.compile(r'`([^`|]*\.\.\.[^`|]*)`')


def texts_of_the_code() -> str:
    """Return every text of the two packages; what is filled in separates them."""
    texts = []
    for package in ('anydepth_ros', 'anydepth_core'):
        for path in (ROOT / package).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(' '.join(node.value.split()))
    return '\n'.join(texts)


def test_every_quoted_message_is_one_of_the_node() -> None:
    known = texts_of_the_code()
    quotes = [
        quote for quote in QUOTED.findall(PAGE.read_text(encoding='utf-8')) if quote != '...'
    ]
    assert len(quotes) > 10
    for quote in quotes:
        for piece in quote.split('...'):
            assert piece.strip(' ,:;()') in known, quote

"""Errors as people read them."""

from __future__ import annotations


def sentence(error: BaseException) -> str:
    """Return an error as one line; its type where it has no words."""
    return ' '.join(str(error).split()) or type(error).__name__

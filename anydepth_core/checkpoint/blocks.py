"""Number the blocks of a stage as published files do."""

from __future__ import annotations

from typing import Any

from anydepth_core.models.detector import Detector
from anydepth_core.nn.stage import Stage


def numbered_blocks(key: str, detector: Detector, word: str) -> str:
    """Replace ``essential.i`` and ``refinement.i`` in a key by ``word.n``, counted over both."""
    words: list[str] = []
    module: Any = detector
    parts = iter(key.split('.'))
    for part in parts:
        if isinstance(module, Stage) and part in ('essential', 'refinement'):
            index = int(next(parts))
            offset = len(module.essential) if part == 'refinement' else 0
            words += [word, str(index + offset)]
            module = getattr(module, part)[index]
        else:
            words.append(part)
            module = getattr(module, part)
    return '.'.join(words)

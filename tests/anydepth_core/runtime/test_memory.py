"""The memory of this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anydepth_core.runtime.memory import give_back_memory, resident_bytes


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs the /proc of Linux')
def test_resident_memory_grows_with_what_is_written_to() -> None:
    before = resident_bytes()
    block = np.ones(64_000_000, np.uint8)
    after = resident_bytes()
    assert before is not None and after is not None and after - before > 50_000_000
    del block


def test_giving_back_is_possible_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back_memory()
    monkeypatch.setattr('ctypes.CDLL', lambda name: object())  # a C library without malloc_trim
    give_back_memory()

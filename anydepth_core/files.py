"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import tempfile


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file that replaces the target when the block ends well.

    If the block raises, the temporary file is removed and the target stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.stem}.', suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)

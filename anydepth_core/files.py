"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import tempfile

from anydepth_core.errors import NO_SPACE


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file that replaces the target when the block ends well.

    If the block raises, the temporary file is removed and the target stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = None
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.stem}.', suffix=path.suffix
        )
        os.close(handle)
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        if name is not None:
            os.unlink(name)
        _name_the_target(error, name, path)
        raise


def _name_the_target(error: BaseException, temporary: str | None, path: Path) -> None:
    """Let an error of the operating system name the file that could not be written.

    It names the temporary one, which nobody knows, or none when the disk is full.
    """
    if not isinstance(error, OSError):
        return
    full = error.filename is None and error.errno in NO_SPACE
    if full or temporary is None or error.filename == temporary:
        error.filename, error.filename2 = str(path), None


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)

"""Errors as people read them."""

from __future__ import annotations

import errno
import os

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors that say that a file is not written as a whole."""

_FIXES = {
    errno.ENOENT: 'does not exist: check the path',
    errno.EACCES: 'may not be read or written: change its permissions, or give another place',
    errno.EPERM: 'may not be read or written: change its permissions, or give another place',
    errno.EROFS: 'is on a file system that is read-only: give another place',
    errno.ENOSPC: 'cannot be written, the disk is full: free some space, or give another place',
    errno.EDQUOT: 'cannot be written, the quota is used up: free some space',
    errno.EFBIG: 'cannot be written, it is larger than a file may be here: give another place',
    errno.EIO: 'cannot be read or written, the disk or its connection fails: check the device',
    errno.EISDIR: 'is a directory: give a file',
    errno.ENOTDIR: 'is not in a directory, a part of the path is a file: check the path',
    errno.EEXIST: 'exists and is not a directory: give another place',
}
"""What an error of the operating system means for a file, and what to do."""


def sentence(error: BaseException) -> str:
    """Return an error as one line; its type where it has no words.

    An error of the operating system that a user can mend names the file and what to do.
    """
    if isinstance(error, OSError) and error.filename and error.errno in _FIXES:
        # Copying names source and target, and it is the target that is full.
        target = error.filename2 if error.errno in NO_SPACE else None
        return f'{os.fsdecode(target or error.filename)} {_FIXES[error.errno]}'
    return ' '.join(str(error).split()) or type(error).__name__

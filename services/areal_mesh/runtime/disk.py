"""Room on a disk: files allocated in full, and what an error says when there is no more."""

import errno
import os
from pathlib import Path

_SOME_LINES = 64 << 10


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, or the share of it that this user may take, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def has_no_room(folder: Path) -> bool:
    """Whether the disk that holds the folder takes no more lines."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < _SOME_LINES


def preallocate(path: Path, capacity: int, anew: bool = True) -> int | None:
    """A descriptor of a file of `capacity` allocated bytes; None, and no file, where the disk has no room.

    `anew`: without what a file there held.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if anew else 0), 0o644)
    try:
        os.posix_fallocate(descriptor, 0, capacity)
    except OSError as error:
        os.close(descriptor)
        path.unlink()
        if is_full(error):
            return None
        raise
    return descriptor

"""Room on the disk that is taken ahead: files allocated in full, and a spare one kept aside for decisions."""

import errno
import os
from pathlib import Path


class Spare:
    """A file of `capacity` allocated bytes in a folder, taken once the disk gives no other; made again when it does."""

    def __init__(self, directory: Path, capacity: int) -> None:
        self._path = directory / "spare"
        self.capacity = capacity

    @property
    def there(self) -> bool:
        """Whether it can be taken."""
        return self._path.exists()

    def keep(self) -> bool:
        """Makes it where it is missing; returns whether it is there, which a full disk may not allow."""
        if not self.there:
            unnamed = self._path.with_suffix(".new")
            descriptor = preallocate(unnamed, self.capacity)
            if descriptor is None:
                return False
            os.close(descriptor)
            unnamed.rename(self._path)
        return True

    def take(self, name: Path) -> int:
        """Gives it another name; returns a descriptor of it."""
        self._path.rename(name)
        return os.open(name, os.O_RDWR)


def preallocate(path: Path, capacity: int) -> int | None:
    """A descriptor of a new file of `capacity` allocated bytes; None, and no file, where the disk has no room."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, capacity)
    except OSError as error:
        os.close(descriptor)
        path.unlink()
        if is_full(error):
            return None
        raise
    return descriptor


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, or the share of it that this user may take, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)

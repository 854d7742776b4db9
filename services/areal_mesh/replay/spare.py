"""Room on the disk that is taken ahead: a file kept aside for decisions."""

import os
from pathlib import Path

from areal_mesh.runtime.disk import preallocate


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

"""Files of segments that nothing needs any more, written anew as the next segments.

Their blocks are allocated and their pages in memory: for a new file the system has to find both, which can take longer
than the writing. They may go whenever the disk has no room.

A file under the eyes of somebody is never written anew, but deleted, so that it lives on for them: whoever reads a
segment opens it by `open_segment`, which locks it, shared, and looks whether it still has its name. Here it is locked
alone before it loses that name.
"""

import contextlib
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from areal_mesh.runtime.disk import preallocate
from areal_mesh.runtime.durable import sync_path

# What a checkpoint releases at once is mostly less.
_MOST_BYTES = 512 << 20
_SHARE_OF_FREE = 10


class ReusedFiles:
    """At most 512 MiB of them, and a tenth of what the disk has free. Blocking throughout; any thread may call.

    Args:
        directory: the folder of the log.
        capacity: of a segment; longer files are not kept.
    """

    def __init__(self, directory: Path, capacity: int) -> None:
        self._directory = directory
        self._capacity = capacity
        self._lock = threading.Lock()
        self._renamed = False
        """Whether the disk may still know one of them by its old name."""

    def put(self, segment: Path) -> None:
        """Takes a segment that nothing needs any more, or deletes it where there are enough or somebody reads it."""
        with self._lock:
            size = segment.stat().st_size
            most = min(_MOST_BYTES, shutil.disk_usage(self._directory).free // _SHARE_OF_FREE)
            if size > self._capacity or self.bytes_on_disk + size > most:
                segment.unlink()
                return
            with _alone(segment) as alone:
                if not alone:
                    segment.unlink()
                    return
                segment.rename(self._directory / f"{segment.stem}.reused")
                self._renamed = True

    def allocate(self, path: Path, capacity: int) -> int | None:
        """A descriptor of a file at `path` with so many allocated bytes, holding anything; None where there is no room.

        One of these where it fits, or a new one.
        """
        while capacity == self._capacity and (file := self._take(path)) is not None:
            descriptor = preallocate(file, capacity, anew=False)
            if descriptor is not None:
                return descriptor
        return preallocate(path, capacity)

    def _take(self, path: Path) -> Path | None:
        with self._lock:
            oldest = min(self._files(), default=None)
            if oldest is None:
                return None
            if self._renamed:
                # What is written under the new name must never be found under the old one.
                sync_path(self._directory)
                self._renamed = False
            return oldest.rename(path)

    def give_way(self) -> bool:
        """Deletes the oldest; False where there is none."""
        with self._lock:
            oldest = min(self._files(), default=None)
            if oldest is not None:
                oldest.unlink()
        return oldest is not None

    @property
    def bytes_on_disk(self) -> int:
        """Bytes that they take."""
        sizes = []
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def _files(self) -> list[Path]:
        return list(self._directory.glob("*.reused"))


@contextlib.contextmanager
def _alone(segment: Path) -> Iterator[bool]:
    """Whether nobody has the segment open to read it, held so; False too where the file system knows no locks."""
    with segment.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def open_segment(path: Path, buffering: int = -1) -> BinaryIO:
    """A segment's file to read; what it holds stays while it is open, whatever becomes of the segment.

    Raises:
        FileNotFoundError: it was deleted or moved.
    """
    file = path.open("rb", buffering=buffering)
    try:
        if not _shared(file) or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise FileNotFoundError(f"{path} is being taken for another segment")
    except OSError:
        file.close()
        raise
    return file


def _shared(file: BinaryIO) -> bool:
    """Locks a file for reading; False where its name is just being taken."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system knows no locks, and so nothing is written anew
        return True
    return True

"""Segments that training needs no more, kept so that a person can look at their rollouts: the newest, up to a bound.

They are a convenience: they never take more than a share of what the disk has free, and go first when it is full.
Nothing of the buffer is read from them.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

_SHARE_OF_FREE = 10


class KeptSegments:
    """The folder of them. Blocking throughout; another log's thread may make room in it meanwhile.

    Args:
        most_bytes: that they take together; 0 keeps none.
        dispose: of one that is too many.
    """

    def __init__(self, directory: Path, most_bytes: int, dispose: Callable[[Path], None] = Path.unlink) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._dispose = dispose

    def take(self, segment: Path) -> None:
        """Moves a sealed segment here, then disposes of the oldest of those that are too many."""
        if not self._most_bytes:
            self._dispose(segment)
            return
        self._directory.mkdir(exist_ok=True)
        segment.rename(self._directory / segment.name)
        most = min(self._most_bytes, shutil.disk_usage(self._directory).free // _SHARE_OF_FREE)
        while self.bytes_on_disk > most and (oldest := min(self._segments(), default=None)) is not None:
            with contextlib.suppress(FileNotFoundError):  # another log's thread made room
                self._dispose(oldest)

    def give_way(self) -> bool:
        """Deletes the oldest; False where there is none."""
        oldest = min(self._segments(), default=None)
        if oldest is None:
            return False
        oldest.unlink(missing_ok=True)
        return True

    @property
    def bytes_on_disk(self) -> int:
        """Bytes that they take."""
        sizes = []
        for path in self._segments():
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def _segments(self) -> list[Path]:
        return list(self._directory.glob("*.segment"))

"""The segment after the one that is written: allocated and begun ahead, beside the thread that writes."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from areal_mesh.replay.reused import ReusedFiles
from areal_mesh.replay.segment_file import RECORDS_START, ActiveSegment


class NextSegment:
    """At most one, without a name of the log's yet: a file that is left over is removed when the log is opened.

    Args:
        helper: the thread that makes it.
        segment_bytes: room for records.
        reused: files that it may be written in.
    """

    def __init__(self, directory: Path, helper: ThreadPoolExecutor, segment_bytes: int, reused: ReusedFiles) -> None:
        self._directory = directory
        self._helper = helper
        self._reused = reused
        self._capacity = RECORDS_START + segment_bytes
        self._made: Future[ActiveSegment | None] | None = None

    def begin(self, number: int) -> None:
        """Begins to make the segment of a number, unless that was begun; a disk without room makes none."""
        if self._made is None:
            self._made = self._helper.submit(self._make, number)

    def _make(self, number: int) -> ActiveSegment | None:
        descriptor = self._reused.allocate(unnamed_path(self._directory, number), self._capacity)
        return None if descriptor is None else ActiveSegment(number, descriptor, self._capacity, for_decisions=False)

    def take(self, needed: int) -> ActiveSegment | None:
        """The segment, if it was begun and has room for so many bytes; it then belongs to the caller. Blocks.

        Raises:
            OSError: it could not be written.
        """
        if self._made is None:
            return None
        made, self._made = self._made, None
        segment = made.result()
        if segment is not None and segment.room < needed:
            segment.abandon()
            return None
        return segment

    @property
    def bytes_on_disk(self) -> int:
        """What it takes."""
        return self._capacity if self._made is not None else 0

    def discard(self) -> None:
        """Deletes it. Blocks."""
        made, self._made = self._made, None
        if made is not None and (segment := made.result()) is not None:
            segment.abandon()
            unnamed_path(self._directory, segment.number).unlink(missing_ok=True)


def unnamed_path(directory: Path, number: int) -> Path:
    """Where the file of a segment lies before it has its name."""
    return directory / f"{number:010d}.new"

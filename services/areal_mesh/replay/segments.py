"""The segments of one folder: which there are, what of them is read, and where the next record goes.

Only the newest segment may end in a torn record: the one before it was sealed before the newest got its name. A spare
segment is kept aside for decisions, so that a full disk refuses groups but never what trains on them or frees them.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import structlog

from areal_mesh.replay.kept import KeptSegments
from areal_mesh.replay.next_segment import NextSegment, unnamed_path
from areal_mesh.replay.records import Location, Record, read_records
from areal_mesh.replay.recovery import recover_segment
from areal_mesh.replay.reused import ReusedFiles
from areal_mesh.replay.segment_file import (
    FRAME_BYTES,
    RECORDS_START,
    ActiveSegment,
    CorruptLog,
)
from areal_mesh.replay.spare import Spare
from areal_mesh.runtime.disk import is_full
from areal_mesh.runtime.durable import sync_path

_LOG = structlog.get_logger("replay")
# A sync behind the writing begins at so much: it takes some ten milliseconds, and leaves a seal little to wait for.
_BEHIND_BYTES = 8 << 20


class LogFull(Exception):
    """No room on the disk for another segment; nothing was changed, and a later try may succeed."""


class SegmentStore:
    """The segments of one folder. One thread writes; any may read. Blocking throughout.

    Args:
        segment_bytes: room for records in a segment.
        spare_bytes: room for decisions on a disk that is full otherwise.
        durable: whether a segment is synced before it is sealed or named.
        kept_bytes: of deleted segments that stay in the folder `kept` beside this one, to be looked at.
    """

    def __init__(
        self, directory: Path, segment_bytes: int, spare_bytes: int = 1 << 20, durable: bool = True, kept_bytes: int = 0
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._spare = Spare(directory, RECORDS_START + spare_bytes)
        self._durable = durable
        self._reused = ReusedFiles(directory, RECORDS_START + segment_bytes)
        self._kept = KeptSegments(directory.parent / "kept", kept_bytes, self._reused.put)
        # Syncs behind the writing, and makes the next segment ahead of it.
        self._helper = ThreadPoolExecutor(1, thread_name_prefix=f"log {directory.name}, disk")
        self._ahead = NextSegment(directory, self._helper, segment_bytes, self._reused)
        self._next = 1
        self._sealed: dict[int, int] = {}
        self._active: ActiveSegment | None = None
        self._refused = ""

    def recover(self, first: int, visit: Callable[[Record], None]) -> None:
        """Reads every record from segment `first` on, in order; deletes older segments and cuts a torn tail off.

        Raises:
            CorruptLog: a segment is missing, or damaged where a torn write cannot be the cause; nothing was cut.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        sync_path(self._directory.parent)
        for leftover in self._directory.glob("*.new"):
            leftover.unlink()
        numbers = sorted(int(path.stem) for path in self._directory.glob("*.segment"))
        kept = [number for number in numbers if number >= first]
        if kept and kept != list(range(first, kept[-1] + 1)):
            missing = sorted(set(range(first, kept[-1] + 1)) - set(kept))
            raise CorruptLog(
                f"{self._directory}: segments {missing} are missing; {first} is the first that has to be there, by "
                f"what {self._directory.parent} says of deleted ones; restore them, or that whole folder"
            )
        for number in kept:
            self._sealed[number] = recover_segment(self._path(number), newest=number == kept[-1], visit=visit)
        for number in numbers:
            if number < first:
                self._kept.take(self._path(number))
        self._next = max(first, kept[-1] + 1 if kept else first)
        self._keep_spare()
        sync_path(self._directory)

    def write(self, kind: int, parts: Sequence[bytes], decision: bool = False) -> Location:
        """Writes a record, its payload in parts; see `place` and `flush`, and what they raise."""
        location = self.place(kind, parts, decision)
        self.flush()
        return location

    def fits(self, length: int, decision: bool) -> bool:
        """Whether a record goes into the segment that is being written; if not, placing it seals that one."""
        active = self._active
        return active is not None and active.room >= FRAME_BYTES + length and (decision or not active.for_decisions)

    def place(self, kind: int, parts: Sequence[bytes], decision: bool = False) -> Location:
        """Places a record, its payload in parts: the next `flush` writes it. A decision may use the spare.

        Raises:
            LogFull: a new segment is needed and does not fit on the disk.
            OSError: a write failed; the segment's state is then unknown.
        """
        length = sum(map(len, parts))
        if not self._spare.there:
            self._keep_spare()
        active = self._active
        if active is None or not self.fits(length, decision):
            active = self._roll(FRAME_BYTES + length, decision)
        elif active.room < self._segment_bytes // 2 and self._spare.there:
            self._ahead.begin(self._next)
        return Location(active.number, active.place(kind, parts, length), length)

    def flush(self) -> None:
        """Writes what was placed; durable after the next `sync`.

        Raises:
            LogFull: the disk has no room for it, and nothing of it is stored.
            OSError: the write failed; the segment's state is then unknown.
        """
        try:
            if self._active is not None:
                self._active.flush()
        except OSError as error:
            # A file system that copies on write needs room even for what was allocated.
            if not is_full(error):
                raise
            raise self._refuse(self._segment_bytes) from error

    def sync_behind(self) -> None:
        """Begins to make what was flushed durable, without waiting for it."""
        if self._active is not None:
            self._active.sync_behind(self._helper, _BEHIND_BYTES)

    def sync(self) -> None:
        """Makes everything written so far durable."""
        if self._active is not None:
            self._active.sync()

    def acknowledge(self) -> None:
        """Notes in the file that everything written so far is about to be acknowledged."""
        if self._active is not None:
            self._active.acknowledge()

    def settle(self) -> None:
        """Makes everything durable, and the note of what was acknowledged too."""
        if self._active is not None:
            self._active.settle()

    @property
    def settled(self) -> bool:
        """Whether `settle` would do nothing."""
        return self._active is None or self._active.settled

    def read(self, locations: Sequence[Location]) -> Iterator[bytes]:
        """The payloads of records, those that follow each other in one segment from one opened file.

        Raises:
            FileNotFoundError: a segment was deleted.
            CorruptLog: the bytes of one are not what was written.
        """
        for number, together in groupby(locations, lambda location: location.segment):
            for _, payload in read_records(self._path(number), list(together)):
                yield payload

    def delete_through(self, number: int) -> None:
        """Deletes sealed segments up to and including `number`; one that a crash brings back, recovery deletes."""
        # A copy: the writing thread may seal another meanwhile.
        for sealed in [candidate for candidate in list(self._sealed) if candidate <= number]:
            self._kept.take(self._path(sealed))
            del self._sealed[sealed]

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all segments, what is allocated ahead and kept aside included."""
        active = self._active
        spare = self._spare.capacity if self._spare.there else 0
        ahead = self._ahead.bytes_on_disk
        aside = spare + ahead + self._reused.bytes_on_disk
        return sum(list(self._sealed.values())) + (active.capacity if active is not None else 0) + aside

    @property
    def full(self) -> str:
        """What was refused last for want of room; empty once the disk has it again."""
        if self._refused and shutil.disk_usage(self._directory).free >= self._wanted_bytes():
            self._refused = ""
        return self._refused

    @property
    def decision_room(self) -> int:
        """Bytes that decisions can take even if the disk gives no more."""
        active = self._active
        spare = self._spare.capacity - RECORDS_START if self._spare.there else 0
        return max(active.room if active is not None else 0, spare)

    def close(self) -> None:
        """Syncs and seals the newest segment."""
        if self._active is not None:
            self._seal(self._active)
            self._active = None
        self._ahead.discard()
        self._helper.shutdown()

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:010d}.segment"

    def _roll(self, needed: int, decision: bool) -> ActiveSegment:
        segment = self._ahead.take(needed) or self._begin(needed, decision)
        try:
            if self._active is not None:
                self._seal(self._active)
            unnamed_path(self._directory, self._next).rename(self._path(self._next))
            sync_path(self._directory)
        except OSError:
            segment.abandon()
            raise
        self._active = segment
        self._next += 1
        return segment

    def _begin(self, needed: int, decision: bool) -> ActiveSegment:
        # A record longer than a segment gets a segment of its own length.
        capacity = RECORDS_START + max(self._segment_bytes, needed)
        unnamed = unnamed_path(self._directory, self._next)
        descriptor = self._reused.allocate(unnamed, capacity)
        while descriptor is None and self._give_way():
            descriptor = self._reused.allocate(unnamed, capacity)
        for_decisions = descriptor is None
        if descriptor is None:
            refused = self._refuse(capacity)
            if not (decision and self._spare.there and RECORDS_START + needed <= self._spare.capacity):
                raise refused
            capacity = self._spare.capacity
            descriptor = self._spare.take(unnamed)
        try:
            return ActiveSegment(self._next, descriptor, capacity, for_decisions)
        except OSError:
            os.close(descriptor)
            raise

    def _keep_spare(self) -> None:
        while not self._spare.keep():
            if not self._give_way():
                self._refuse(self._spare.capacity)
                return

    def _give_way(self) -> bool:
        return self._reused.give_way() or self._kept.give_way()

    def _refuse(self, wanted: int) -> LogFull:
        self._refused = (
            f"no room for {wanted} bytes in {self._directory}; free space there, or let checkpoints release consumed "
            "groups"
        )
        return LogFull(self._refused)

    def _wanted_bytes(self) -> int:
        """A segment and the spare: with less the next group would be refused again."""
        spare = 0 if self._spare.there else self._spare.capacity
        return RECORDS_START + self._segment_bytes + spare

    def _seal(self, segment: ActiveSegment) -> None:
        segment.seal(self._durable)
        self._sealed[segment.number] = segment.end

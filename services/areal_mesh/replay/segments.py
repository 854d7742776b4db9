"""The segments of one folder: which there are, what of them is read, and where the next record goes.

Only the newest segment may end in a torn record: the one before it was sealed before the newest got its name. A spare
segment is kept aside for decisions, so that a full disk refuses groups but never what trains on them or frees them.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import structlog

from areal_mesh.replay.kept import KeptSegments
from areal_mesh.replay.segment_file import (
    FRAME_BYTES,
    RECORDS_START,
    ActiveSegment,
    CorruptLog,
    Mark,
    read_frame,
    read_mark,
    seal_file,
)
from areal_mesh.replay.spare import Spare
from areal_mesh.runtime.disk import is_full, preallocate

_LOG = structlog.get_logger("replay")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a record lies: segment number, offset of its frame in bytes, length of its payload in bytes."""

    segment: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record as recovery finds it; `kind` is the writer's, from 1 to 255."""

    kind: int
    payload: bytes
    location: Location


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
        self._kept = KeptSegments(directory.parent / "kept", kept_bytes)
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
        _sync_directory(self._directory.parent)
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
            self._sealed[number] = self._recover_segment(number, newest=number == kept[-1], visit=visit)
        for number in numbers:
            if number < first:
                self._kept.take(self._path(number))
        self._next = max(first, kept[-1] + 1 if kept else first)
        self._keep_spare()
        _sync_directory(self._directory)

    def write(self, kind: int, parts: Sequence[bytes], decision: bool = False) -> Location:
        """Writes a record, its payload in parts; durable after the next `sync`. A decision may use the spare.

        Raises:
            LogFull: a new segment is needed and does not fit on the disk.
            OSError: the write failed; the segment's state is then unknown.
        """
        length = sum(map(len, parts))
        needed = FRAME_BYTES + length
        if not self._spare.there:
            self._keep_spare()
        active = self._active
        if active is None or active.room < needed or (active.for_decisions and not decision):
            active = self._roll(needed, decision)
        try:
            return Location(active.number, active.write(kind, parts, length), length)
        except OSError as error:
            # A file system that copies on write needs room even for what was allocated. The next record lies over it.
            if not is_full(error):
                raise
            raise self._refuse(needed) from error

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

    def read(self, location: Location) -> bytes:
        """The payload of a record.

        Raises:
            FileNotFoundError: its segment was deleted.
            CorruptLog: its bytes are not what was written.
        """
        path = self._path(location.segment)
        # Opened for each read: a descriptor kept open could be closed and reused by a deletion meanwhile.
        with path.open("rb", buffering=0) as file:
            file.seek(location.offset)
            frame = read_frame(file, location.offset + FRAME_BYTES + location.length)
        if frame is None or len(frame[1]) != location.length:
            raise CorruptLog(f"{path}: the record at byte {location.offset} fails its checksum; restore the file")
        return frame[1]

    def delete_through(self, number: int) -> None:
        """Deletes sealed segments up to and including `number`."""
        # A copy: the writing thread may seal another meanwhile.
        for sealed in [candidate for candidate in list(self._sealed) if candidate <= number]:
            self._kept.take(self._path(sealed))
            del self._sealed[sealed]
        _sync_directory(self._directory)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all segments, what is allocated ahead and the spare included."""
        active = self._active
        spare = self._spare.capacity if self._spare.there else 0
        return sum(list(self._sealed.values())) + (active.capacity if active is not None else 0) + spare

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

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:010d}.segment"

    def _roll(self, needed: int, decision: bool) -> ActiveSegment:
        # A record longer than a segment gets a segment of its own length.
        capacity = RECORDS_START + max(self._segment_bytes, needed)
        path = self._path(self._next)
        unnamed = path.with_suffix(".new")
        descriptor = preallocate(unnamed, capacity)
        while descriptor is None and self._kept.give_way():
            descriptor = preallocate(unnamed, capacity)
        for_decisions = descriptor is None
        if descriptor is None:
            refused = self._refuse(capacity)
            if not (decision and self._spare.there and RECORDS_START + needed <= self._spare.capacity):
                raise refused
            capacity = self._spare.capacity
            descriptor = self._spare.take(unnamed)
        try:
            segment = ActiveSegment(self._next, descriptor, capacity, for_decisions)
            if self._active is not None:
                self._seal(self._active)
            unnamed.rename(path)
            _sync_directory(self._directory)
        except OSError:
            os.close(descriptor)
            raise
        self._active = segment
        self._next += 1
        return segment

    def _keep_spare(self) -> None:
        while not self._spare.keep():
            if not self._kept.give_way():
                self._refuse(self._spare.capacity)
                return

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

    def _recover_segment(self, number: int, newest: bool, visit: Callable[[Record], None]) -> int:
        path = self._path(number)
        with path.open("r+b") as file:
            mark = read_mark(path, file, number)
            size = path.stat().st_size
            limit = min(size, mark.acknowledged) if mark.sealed else size
            end = _visit_records(path, number, file, limit, visit)
            if end < mark.promised:
                what = "cut off" if end == size else "damaged"
                raise CorruptLog(
                    f"{path}: {what} at byte {end}, though records up to byte {mark.promised} were acknowledged; "
                    "restore the file from a copy; without one, `areal-mesh up --fresh` begins the run anew"
                )
            if not newest and not (mark.sealed and end == mark.acknowledged):
                raise CorruptLog(f"{path}: ends at byte {end} without a seal though later segments follow; restore it")
            if end != size or not mark.sealed:
                self._cut(path, file, end, mark)
        return end

    def _cut(self, path: Path, file: BinaryIO, end: int, mark: Mark) -> None:
        file.seek(end)
        if any(file.read(FRAME_BYTES)):
            _LOG.warning("a record that a crash left torn, never acknowledged, is cut off", file=str(path), byte=end)
        seal_file(file.fileno(), replace(mark, synced=end, acknowledged=end, sealed=True), durable=True)


def _visit_records(path: Path, number: int, file: BinaryIO, limit: int, visit: Callable[[Record], None]) -> int:
    """Visits the records up to the first that is not whole; returns where that one begins."""
    end = RECORDS_START
    file.seek(end)
    while (frame := read_frame(file, limit)) is not None:
        kind, payload = frame
        try:
            visit(Record(kind, payload, Location(number, end, len(payload))))
        except ValueError as error:
            raise CorruptLog(f"{path}: the record at byte {end} does not fit those before it: {error}") from error
        end += FRAME_BYTES + len(payload)
    return end


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Segment files: preallocated, append-only, each a header and then framed records.

A file is `MAGIC, number` and then frames `crc32c, length, kind, payload`; the crc covers length, kind and payload.
The tail of the segment being written is preallocated zeros, so a frame of zeros ends it. Only the newest segment may
end in a torn record: the one before it was synced and cut to its length before the newest got its name. What a file
holds is durable after `sync`, never before.
"""

import errno
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

MAGIC = b"AMREPLY1"
_HEADER = struct.Struct("<8sQ")
_FRAME = struct.Struct("<IIB")
_COVERED = struct.Struct("<IB")
_SMALLEST_SEGMENT_BYTES = 1 << 16


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


class CorruptLog(Exception):
    """Bytes that were durable are no longer what was written; the message names file and offset."""


class LogFull(Exception):
    """No room on the disk for another segment; nothing was changed, and a later try may succeed."""


class SegmentStore:
    """The segments of one folder. One thread writes; any may read. Blocking throughout."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._next = 1
        self._sealed: dict[int, int] = {}
        self._active: _ActiveSegment | None = None

    def recover(self, first: int, visit: Callable[[Record], None]) -> None:
        """Reads every record from segment `first` on, in order; deletes older segments and cuts a torn tail off.

        Raises:
            CorruptLog: a segment is missing, or damaged where a torn write cannot be the cause.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        _sync_directory(self._directory.parent)
        for leftover in self._directory.glob("*.new"):
            leftover.unlink()
        numbers = sorted(int(path.stem) for path in self._directory.glob("*.segment"))
        kept = [number for number in numbers if number >= first]
        for number in numbers:
            if number < first:
                self._path(number).unlink()
        if kept and kept != list(range(first, kept[-1] + 1)):
            missing = sorted(set(range(first, kept[-1] + 1)) - set(kept))
            raise CorruptLog(f"{self._directory}: segments {missing} are missing; restore them or the whole folder")
        for number in kept:
            self._sealed[number] = self._recover_segment(number, newest=number == kept[-1], visit=visit)
        self._next = max(first, kept[-1] + 1 if kept else first)
        _sync_directory(self._directory)

    def write(self, kind: int, parts: Sequence[bytes]) -> Location:
        """Writes a record, its payload in parts; durable after the next `sync`.

        Raises:
            LogFull: a new segment is needed and does not fit on the disk.
            OSError: the write failed; the segment's state is then unknown.
        """
        length = sum(map(len, parts))
        needed = _FRAME.size + length
        if self._active is None or not self._active.fits(needed):
            self._roll(needed)
        assert self._active is not None
        crc = google_crc32c.extend(0, _COVERED.pack(length, kind))
        for part in parts:
            crc = google_crc32c.extend(crc, part)
        offset = self._active.write([_FRAME.pack(crc, length, kind), *parts], needed)
        return Location(self._active.number, offset, length)

    def sync(self) -> None:
        """Makes everything written so far durable."""
        if self._active is not None:
            self._active.sync()

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
            frame = _read_frame(file, location.offset + _FRAME.size + location.length)
        if frame is None or len(frame[1]) != location.length:
            raise CorruptLog(f"{path}: the record at byte {location.offset} fails its checksum; restore the file")
        return frame[1]

    def delete_through(self, number: int) -> None:
        """Deletes sealed segments up to and including `number`."""
        # A copy: the writing thread may seal another meanwhile.
        for sealed in [candidate for candidate in list(self._sealed) if candidate <= number]:
            self._path(sealed).unlink()
            del self._sealed[sealed]
        _sync_directory(self._directory)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all segments, the preallocated tail of the newest included."""
        active = self._active
        return sum(list(self._sealed.values())) + (active.capacity if active is not None else 0)

    def close(self) -> None:
        """Syncs and seals the newest segment."""
        if self._active is not None:
            self._seal(self._active)
            self._active = None

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:010d}.segment"

    def _roll(self, needed: int) -> None:
        # A record longer than a segment gets a segment of its own length.
        capacity = max(self._segment_bytes, _HEADER.size + needed)
        path = self._path(self._next)
        unnamed = path.with_suffix(".new")
        try:
            descriptor = _preallocate(unnamed, capacity)
        except LogFull:
            # A disk that is nearly full still takes decisions, of which the next ones may free segments.
            capacity = min(capacity, max(_SMALLEST_SEGMENT_BYTES, _HEADER.size + needed))
            descriptor = _preallocate(unnamed, capacity)
        try:
            _write_fully(descriptor, [_HEADER.pack(MAGIC, self._next)], 0)
            os.fsync(descriptor)
            if self._active is not None:
                self._seal(self._active)
            unnamed.rename(path)
            _sync_directory(self._directory)
        except OSError:
            os.close(descriptor)
            raise
        self._active = _ActiveSegment(self._next, descriptor, capacity)
        self._next += 1

    def _seal(self, segment: "_ActiveSegment") -> None:
        segment.seal()
        self._sealed[segment.number] = segment.end

    def _recover_segment(self, number: int, newest: bool, visit: Callable[[Record], None]) -> int:
        path = self._path(number)
        size = path.stat().st_size
        with path.open("r+b") as file:
            if file.read(_HEADER.size) != _HEADER.pack(MAGIC, number):
                raise CorruptLog(f"{path}: its header is not that of segment {number}; restore the file")
            end = _HEADER.size
            while (frame := _read_frame(file, size)) is not None:
                kind, payload = frame
                visit(Record(kind, payload, Location(number, end, len(payload))))
                end += _FRAME.size + len(payload)
            if end == size:
                return size
            if not newest:
                raise CorruptLog(f"{path}: damaged at byte {end} though later segments follow; restore the file")
            file.truncate(end)
            os.fsync(file.fileno())
        return end


class _ActiveSegment:
    """The segment being written."""

    def __init__(self, number: int, descriptor: int, capacity: int) -> None:
        self.number = number
        self.capacity = capacity
        self.end = _HEADER.size
        self._descriptor = descriptor
        self._synced = self.end

    def fits(self, needed: int) -> bool:
        return self.end + needed <= self.capacity

    def write(self, buffers: Sequence[bytes], length: int) -> int:
        offset = self.end
        _write_fully(self._descriptor, buffers, offset)
        self.end += length
        return offset

    def sync(self) -> None:
        if self._synced != self.end:
            os.fdatasync(self._descriptor)
            self._synced = self.end

    def seal(self) -> None:
        self.sync()
        os.ftruncate(self._descriptor, self.end)
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def _read_frame(file: BinaryIO, limit: int) -> tuple[int, bytes] | None:
    """Kind and payload of the frame at the file's position; None where no whole frame lies before `limit`."""
    start = file.tell()
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    crc, length, kind = _FRAME.unpack(head)
    if kind == 0 or start + _FRAME.size + length > limit:
        return None
    payload = file.read(length)
    if google_crc32c.extend(google_crc32c.extend(0, _COVERED.pack(length, kind)), payload) != crc:
        return None
    return kind, payload


def _preallocate(path: Path, capacity: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, capacity)
    except OSError as error:
        os.close(descriptor)
        path.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LogFull(
                f"no room for a segment of {capacity} bytes in {path.parent}; free space there, or let checkpoints "
                "release consumed groups"
            ) from error
        raise
    return descriptor


def _write_fully(descriptor: int, buffers: Sequence[bytes], offset: int) -> None:
    """Writes all of `buffers` at `offset`; one system call moves at most 2 GiB and may move less."""
    rest: list[memoryview] = [memoryview(buffer) for buffer in buffers if buffer]
    while rest:
        written = os.pwritev(descriptor, rest, offset)
        offset += written
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if rest:
            rest[0] = rest[0][written:]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

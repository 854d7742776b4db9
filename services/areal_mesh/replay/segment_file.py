"""One segment file: a header, two marks, then framed records.

    byte 0       the header: MAGIC, number, capacity of the file, crc32c
    byte 4096    two marks, a block each: how far the records are durable, and how far they were acknowledged
    byte 12288   the records: frames `crc32c, length, kind, payload`; the crc covers length, kind and payload

A file may have held another segment before (see `reused`). So a crc begins with the segment's number: what is left of
the other's records never passes for one of this one, for crcs of the same bytes that begin differently end differently.
Files of the format before, OLD_MAGIC, were new ones, and their crcs begin with 0; they are read, and written no more.

The marks tell damage from a torn write. A mark is written after the sync that it speaks of and before anyone is told,
into the block whose turn it is: where the newer one was torn or is damaged, the older one still stands. So whatever
does not read back below the mark was written once and is damaged; what does not read back above it was never
acknowledged, and a crash may have left it in any state, later blocks before earlier ones.

After a crash of the process alone, everything that was written is in the file. After one of the machine, only what
was synced is: a mark says under which boot of the machine it was written.
"""

import os
import struct
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import google_crc32c

MAGIC = b"AMREPLY3"
OLD_MAGIC = b"AMREPLY2"
BLOCK_BYTES = 4096
RECORDS_START = 3 * BLOCK_BYTES
_HEADER = struct.Struct("<8sQQ")
_MARK = struct.Struct("<QQQQB36s")
_CRC = struct.Struct("<I")
_FRAME = struct.Struct("<IIB")
_COVERED = struct.Struct("<IB")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FRAME_BYTES = _FRAME.size
_MOST_BUFFERS = 1024  # of one call, by POSIX


class CorruptLog(Exception):
    """Bytes that were durable are no longer what was written; the message names file and byte."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the records of a segment reach, as offsets in the file. `turn` counts its marks.

    `synced`: durable even if the machine stops. `acknowledged`: somebody was told. `sealed`: nothing follows.
    """

    number: int
    turn: int = 0
    synced: int = RECORDS_START
    acknowledged: int = RECORDS_START
    sealed: bool = False
    boot: str = ""

    @property
    def promised(self) -> int:
        """The end of what has to be there: an acknowledgement without a sync holds until the machine stops."""
        return self.acknowledged if self.boot == boot_id() else self.synced


@dataclass(frozen=True, slots=True)
class _Behind:
    """A sync that a helper is at: how far it reaches, and the mark that it makes durable too."""

    end: int
    turn: int
    done: Future[None]


@cache
def boot_id() -> str:
    """Tells this boot of the machine from others; empty where the system does not say."""
    return _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""


class ActiveSegment:
    """The segment being written, from a file of `capacity` bytes, all allocated; what is in them counts for nothing.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, number: int, descriptor: int, capacity: int, for_decisions: bool) -> None:
        self.number = number
        self.capacity = capacity
        self.for_decisions = for_decisions
        """Whether it was made from the spare: its room is for decisions alone."""
        self.end = RECORDS_START
        self._descriptor = descriptor
        self._mark = Mark(number, boot=boot_id())
        header = _HEADER.pack(MAGIC, number, capacity)
        write_fully(descriptor, [header, _CRC.pack(google_crc32c.value(header))], 0)
        self._write_mark()
        os.fsync(descriptor)
        self._settled = self._mark.turn
        self._pending: list[bytes] = []
        self._flushed = self.end
        self._behind: _Behind | None = None

    @property
    def room(self) -> int:
        """Bytes left."""
        return self.capacity - self.end

    def place(self, kind: int, parts: Sequence[bytes], length: int) -> int:
        """Puts a record at the end, to be written by the next `flush`; returns the offset of its frame."""
        crc = google_crc32c.extend(_crc_start(self.number), _COVERED.pack(length, kind))
        for part in parts:
            crc = google_crc32c.extend(crc, part)
        offset = self.end
        self._pending += [_FRAME.pack(crc, length, kind), *parts]
        self.end += FRAME_BYTES + length
        return offset

    def flush(self) -> None:
        """Writes what was placed, all in one; where that fails, the next record lies over it."""
        if self._pending:
            pending, self._pending = self._pending, []
            placed, self.end = self.end, self._flushed
            # Whatever the file held before, no frame stands at the end.
            nothing = bytes(min(FRAME_BYTES, self.capacity - placed))
            write_fully(self._descriptor, [*pending, nothing], self._flushed)
            self._flushed = self.end = placed

    def sync_behind(self, helper: ThreadPoolExecutor, least: int) -> None:
        """Has a helper make durable what was written, if that is so many bytes and it is at no other sync.

        So that little is left for the syncs that are waited for.
        """
        if self._behind is not None and self._behind.done.done():
            self._await_behind()
        if self._behind is None and self._flushed - self._mark.synced >= least:
            done = helper.submit(os.fdatasync, self._descriptor)
            self._behind = _Behind(self._flushed, self._mark.turn, done)

    def _await_behind(self) -> None:
        behind, self._behind = self._behind, None
        if behind is not None:
            behind.done.result()
            self._settled = max(self._settled, behind.turn)
            self._mark = replace(self._mark, synced=max(self._mark.synced, behind.end))

    def sync(self) -> None:
        """Makes what was placed durable; `acknowledge` may follow."""
        self.flush()
        self._await_behind()
        if self._mark.synced != self.end:
            turn = self._mark.turn
            os.fdatasync(self._descriptor)
            self._settled = turn
            self._mark = replace(self._mark, synced=self.end)

    def acknowledge(self) -> None:
        """Notes that everything written so far is about to be acknowledged."""
        self._mark = replace(self._mark, acknowledged=self.end)
        if self._written != (self._mark.synced, self.end):
            self._write_mark()

    @property
    def settled(self) -> bool:
        """Whether a mark that speaks of everything written is durable itself."""
        return self._settled == self._mark.turn and self._mark.synced == self._mark.acknowledged == self.end

    def settle(self) -> None:
        """Makes everything written durable, and a mark that says so."""
        self.sync()
        if self._written != (self.end, self.end):
            self.acknowledge()
        if self._settled != self._mark.turn:
            os.fdatasync(self._descriptor)
            self._settled = self._mark.turn

    def seal(self, durable: bool) -> None:
        """Cuts the file to its records and closes it; nothing follows in it."""
        self.flush()
        self._await_behind()
        if durable:
            self.sync()
        self._mark = replace(self._mark, acknowledged=self.end, sealed=True)
        seal_file(self._descriptor, self._mark, durable)
        os.close(self._descriptor)

    def abandon(self) -> None:
        """Closes a segment in which nothing was written."""
        os.close(self._descriptor)

    def _write_mark(self) -> None:
        self._mark = replace(self._mark, turn=self._mark.turn + 1)
        write_mark(self._descriptor, self._mark)
        self._written = (self._mark.synced, self._mark.acknowledged)


def write_mark(descriptor: int, mark: Mark) -> None:
    """Writes a mark into the block whose turn it is."""
    sealed, boot = int(mark.sealed), mark.boot.encode()
    packed = _MARK.pack(mark.number, mark.turn, mark.synced, mark.acknowledged, sealed, boot)
    crc = _CRC.pack(google_crc32c.value(packed))
    write_fully(descriptor, [packed, crc], BLOCK_BYTES * (1 + mark.turn % 2))


def seal_file(descriptor: int, mark: Mark, durable: bool) -> None:
    """Cuts a file to what `mark` acknowledges, with the mark in both blocks."""
    for turn in (mark.turn + 1, mark.turn + 2):
        write_mark(descriptor, replace(mark, turn=turn))
    os.ftruncate(descriptor, mark.acknowledged)
    if durable:
        os.fsync(descriptor)


def read_mark(path: Path, file: BinaryIO, number: int) -> Mark:
    """Checks the header of a segment and gives its newest whole mark.

    Raises:
        CorruptLog: the header or both marks are damaged.
    """
    file.seek(0)
    head = file.read(RECORDS_START)
    if len(head) < RECORDS_START:
        raise CorruptLog(f"{path}: cut off at byte {len(head)}, before its first record; restore the file")
    if not _is_whole(head, _HEADER.size):
        raise CorruptLog(f"{path}: damaged at byte 0: its header fails its checksum; restore the file")
    magic, named, _ = _HEADER.unpack_from(head)
    if magic not in (MAGIC, OLD_MAGIC) or named != number:
        raise CorruptLog(f"{path}: its header, at byte 0, is not that of segment {number}; restore the file")
    marks = [mark for block in (1, 2) if (mark := _unpack_mark(head[block * BLOCK_BYTES :], number)) is not None]
    if not marks:
        raise CorruptLog(f"{path}: damaged at byte {BLOCK_BYTES}: neither of its marks is whole; restore the file")
    return max(marks, key=lambda mark: mark.turn)


def _unpack_mark(data: bytes, number: int) -> Mark | None:
    if not _is_whole(data, _MARK.size):
        return None
    named, turn, synced, acknowledged, sealed, boot = _MARK.unpack_from(data)
    mark = Mark(named, turn, synced, acknowledged, bool(sealed), boot.rstrip(b"\0").decode())
    return mark if named == number else None


def _is_whole(data: bytes, size: int) -> bool:
    """Whether the crc of the first `size` bytes follows them."""
    return data[size : size + _CRC.size] == _CRC.pack(google_crc32c.value(data[:size]))


def frame_crc_start(file: BinaryIO, number: int) -> int:
    """What the crcs of the frames in the file of a segment begin with."""
    file.seek(0)
    head = file.read(_HEADER.size + _CRC.size)
    return 0 if head.startswith(OLD_MAGIC) and _is_whole(head, _HEADER.size) else _crc_start(number)


def _crc_start(number: int) -> int:
    return number & 0xFFFFFFFF


def read_frame(file: BinaryIO, limit: int, crc_start: int) -> tuple[int, bytes] | None:
    """Kind and payload of the frame at the file's position; None where no whole frame lies before `limit`."""
    start = file.tell()
    head = file.read(FRAME_BYTES)
    if len(head) < FRAME_BYTES:
        return None
    crc, length, kind = _FRAME.unpack(head)
    if kind == 0 or start + FRAME_BYTES + length > limit:
        return None
    payload = file.read(length)
    if google_crc32c.extend(google_crc32c.extend(crc_start, _COVERED.pack(length, kind)), payload) != crc:
        return None
    return kind, payload


def frame_length(data: bytes, offset: int) -> int | None:
    """Bytes of payload that the frame at an offset of `data` says it has; None where it would reach past the end."""
    if offset + FRAME_BYTES > len(data):
        return None
    _, length, kind = _FRAME.unpack_from(data, offset)
    return int(length) if kind and offset + FRAME_BYTES + length <= len(data) else None


def write_fully(descriptor: int, buffers: Sequence[bytes], offset: int) -> None:
    """Writes all of `buffers` at `offset`; one system call moves at most 2 GiB, and may move less."""
    rest: list[memoryview] = [memoryview(buffer) for buffer in buffers if buffer]
    while rest:
        written = os.pwritev(descriptor, rest[:_MOST_BUFFERS], offset)
        offset += written
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if rest:
            rest[0] = rest[0][written:]

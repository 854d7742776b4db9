"""The records of one segment file, with each damage by its byte; behind a damage the reading goes on.

What is damage and what a torn write is decided as recovery does it (see `segment_file`): below the segment's mark
every record has to be whole.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from areal_mesh.replay.events import Kind
from areal_mesh.replay.records import Location, Record
from areal_mesh.replay.reused import open_segment
from areal_mesh.replay.segment_file import (
    FRAME_BYTES,
    RECORDS_START,
    CorruptLog,
    Mark,
    frame_crc_start,
    frame_length,
    read_frame,
    read_mark,
)

_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what was written, or lack."""

    path: Path
    byte: int
    """Offset in the file at which the damaged part begins."""
    what: str

    def __str__(self) -> str:
        return f"{self.path}: byte {self.byte}: {self.what}"


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One segment file. Offsets and sizes in bytes."""

    number: int
    path: Path
    size: int
    """Of the file: an open segment is allocated ahead."""
    end: int
    """Where its records end."""
    records: int
    sealed: bool
    """Nothing will be added to it."""


def scan_segment(path: Path, visit: Callable[[Record], None]) -> tuple[SegmentFacts, list[Damage]]:
    """Calls `visit` with each whole record of a segment, in order.

    Raises:
        FileNotFoundError: it was deleted.
        OSError: it cannot be read.
    """
    number = int(path.stem)
    damages: list[Damage] = []
    with open_segment(path) as file:
        size = path.stat().st_size
        mark = _mark(path, file, number, damages)
        # Bytes behind the seal are none of the log's.
        limit = min(size, mark.acknowledged) if mark is not None and mark.sealed else size
        promised = mark.promised if mark is not None else size
        crc_start = frame_crc_start(file, number)
        records, end, position = 0, RECORDS_START, RECORDS_START
        while position < limit:
            file.seek(position)
            frame = read_frame(file, limit, crc_start)
            if frame is not None:
                kind, payload = frame
                visit(Record(kind, payload, Location(number, position, len(payload))))
                records += 1
                position = end = position + FRAME_BYTES + len(payload)
                continue
            following = _next_record(file, position, limit, crc_start) if position < promised else None
            if following is None:
                break
            damages.append(Damage(path, position, f"a record fails its checksum; the next whole one is at {following}"))
            position = following
        if mark is not None and position < promised:
            damages.append(_missing_end(path, position, size, promised))
    return SegmentFacts(number, path, size, end, records, mark is not None and mark.sealed), damages


def _mark(path: Path, file: BinaryIO, number: int, damages: list[Damage]) -> Mark | None:
    try:
        return read_mark(path, file, number)
    except CorruptLog as error:
        found = re.search(r"byte (\d+)", str(error))
        what = str(error).removeprefix(f"{path}: ")
        damages.append(Damage(path, int(found[1]) if found else 0, what))
        return None


def _missing_end(path: Path, position: int, size: int, promised: int) -> Damage:
    what = "the file is cut off here" if position >= size else "a record fails its checksum, and no whole one follows"
    return Damage(path, position, f"{what}; records up to byte {promised} were acknowledged")


def _next_record(file: BinaryIO, damaged: int, limit: int, crc_start: int) -> int | None:
    """Where the first whole record behind a damaged one begins; None where there is none."""
    file.seek(damaged)
    data = file.read(limit - damaged)
    length = frame_length(data, 0)
    # Mostly its payload is damaged, and its length is right.
    if length is not None and _is_whole(file, damaged + FRAME_BYTES + length, limit, crc_start):
        return damaged + FRAME_BYTES + length
    for offset in range(1, len(data) - FRAME_BYTES):
        if data[offset + FRAME_BYTES - 1] not in _KINDS:
            continue
        length = frame_length(data, offset)
        # What follows it has to look like a record too: else checksums over megabytes for every few hundred bytes.
        likely = length is not None and _may_follow(data, offset + FRAME_BYTES + length)
        if likely and _is_whole(file, damaged + offset, limit, crc_start):
            return damaged + offset
    return None


def _may_follow(data: bytes, offset: int) -> bool:
    """Whether a record, or the end of all records, may stand at an offset."""
    head = data[offset : offset + FRAME_BYTES]
    return len(head) < FRAME_BYTES or not any(head) or (head[-1] in _KINDS and frame_length(data, offset) is not None)


def _is_whole(file: BinaryIO, offset: int, limit: int, crc_start: int) -> bool:
    file.seek(offset)
    return offset < limit and read_frame(file, limit, crc_start) is not None

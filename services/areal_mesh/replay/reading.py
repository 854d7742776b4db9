"""The log for whoever only looks: records that were acknowledged, while a service writes it or after.

Nothing is locked: a segment may be cut, sealed, moved to `kept` or deleted meanwhile. What is read is what its mark
acknowledges, so a record is never seen in part; a segment that is gone is passed over, and so is what follows a damaged
record in one.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from areal_mesh.replay.events import Chosen, Dropped, Released, Retired, SetAside, Stored, decode, group_payload
from areal_mesh.replay.records import Location
from areal_mesh.replay.reused import open_segment
from areal_mesh.replay.segment_file import (
    FRAME_BYTES,
    RECORDS_START,
    CorruptLog,
    frame_crc_start,
    read_frame,
    read_mark,
)
from areal_mesh.v1 import rollout_pb2

__all__ = [
    "Chosen",
    "CorruptLog",
    "Dropped",
    "Entry",
    "Location",
    "Position",
    "SetAside",
    "entries",
    "oldest_segment",
    "read_group",
]
LogEvent = Stored | Chosen | Dropped | SetAside | Released | Retired
_FOLDERS = ("groups", "kept")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log was read: a segment, and the offset of its next record."""

    segment: int = 0
    offset: int = RECORDS_START


@dataclass(frozen=True, slots=True)
class Entry:
    """A record: what it says, where it lies, where the next one begins; `group` of a Stored alone."""

    event: LogEvent
    location: Location
    next: Position
    group: rollout_pb2.Group | None = None


def oldest_segment(directory: Path) -> int:
    """The number of the oldest segment that is there; 0 where there is none."""
    return min(_segments(directory), default=0)


def entries(directory: Path, since: Position) -> Iterator[Entry]:
    """Records of the replay directory of a run from a position on, in the log's order.

    Raises:
        CorruptLog: a segment's header is damaged, or a record was written by a later version.
    """
    for number in sorted(number for number in _segments(directory) if number >= since.segment):
        offset = since.offset if number == since.segment else RECORDS_START
        yield from _entries_of(directory, number, offset)


def read_group(directory: Path, location: Location) -> rollout_pb2.Group | None:
    """The group that was stored at a location; None where its segment is gone."""
    file = _open(directory, location.segment)
    if file is None:
        return None
    with file:
        crc_start = frame_crc_start(file, location.segment)
        file.seek(location.offset)
        frame = read_frame(file, location.offset + FRAME_BYTES + location.length, crc_start)
    return None if frame is None else rollout_pb2.Group.FromString(group_payload(frame[1]))


def _entries_of(directory: Path, number: int, offset: int) -> Iterator[Entry]:
    # Held open: it is read to its end wherever it is moved meanwhile.
    file = _open(directory, number)
    if file is None:
        return
    with file:
        path = Path(file.name)
        limit = read_mark(path, file, number).acknowledged
        crc_start = frame_crc_start(file, number)
        file.seek(offset)
        while (frame := read_frame(file, limit, crc_start)) is not None:
            kind, payload = frame
            location = Location(number, offset, len(payload))
            offset += FRAME_BYTES + len(payload)
            try:
                entry = _entry(kind, payload, location, Position(number, offset))
            except (ValueError, DecodeError) as error:
                raise CorruptLog(f"{path}: the record at byte {location.offset}: {error}") from error
            yield entry


def _entry(kind: int, payload: bytes, location: Location, position: Position) -> Entry:
    event = decode(kind, payload)
    group = rollout_pb2.Group.FromString(group_payload(payload)) if isinstance(event, Stored) else None
    return Entry(event, location, position, group)


def _segments(directory: Path) -> set[int]:
    return {int(path.stem) for folder in _FOLDERS for path in (directory / folder).glob("*.segment")}


def _open(directory: Path, number: int) -> BinaryIO | None:
    """A segment; None where it is gone."""
    # In the order in which it is moved, so that it is in one of them when that one is tried.
    for folder in _FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            return open_segment(directory / folder / f"{number:010d}.segment")
    return None

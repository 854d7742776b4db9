"""Records as they lie in the segments: where, of which kind, with what in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from areal_mesh.replay.reused import open_segment
from areal_mesh.replay.segment_file import FRAME_BYTES, CorruptLog, frame_crc_start, read_frame


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


def read_record(path: Path, location: Location) -> tuple[int, bytes]:
    """Kind and payload of the record at a location of a segment's file; raises as `SegmentStore.read`."""
    [frame] = read_records(path, [location])
    return frame


def read_records(path: Path, locations: Sequence[Location]) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of records of one segment's file; raises as `SegmentStore.read`."""
    # Opened for each read: a descriptor kept open could be closed and reused by a deletion meanwhile.
    with open_segment(path, buffering=0) as file:
        crc_start = frame_crc_start(file, int(path.stem))
        for location in locations:
            file.seek(location.offset)
            frame = read_frame(file, location.offset + FRAME_BYTES + location.length, crc_start)
            if frame is None or len(frame[1]) != location.length:
                raise CorruptLog(f"{path}: the record at byte {location.offset} fails its checksum; restore the file")
            yield frame

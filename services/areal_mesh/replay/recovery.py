"""A segment read again after an end of its process: its records, and what of its tail was never acknowledged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import structlog

from areal_mesh.replay.records import Location, Record
from areal_mesh.replay.segment_file import (
    FRAME_BYTES,
    RECORDS_START,
    CorruptLog,
    Mark,
    frame_crc_start,
    read_frame,
    read_mark,
    seal_file,
)

_LOG = structlog.get_logger("replay")


def recover_segment(path: Path, newest: bool, visit: Callable[[Record], None]) -> int:
    """Visits the records of a segment, and cuts a torn tail off the newest; returns where its records end.

    Raises:
        CorruptLog: it is damaged where a torn write cannot be the cause; nothing was cut.
    """
    number = int(path.stem)
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
            _cut(path, file, end, mark)
    return end


def _cut(path: Path, file: BinaryIO, end: int, mark: Mark) -> None:
    file.seek(end)
    if any(file.read(FRAME_BYTES)):
        _LOG.warning("a record that a crash left torn, never acknowledged, is cut off", file=str(path), byte=end)
    seal_file(file.fileno(), replace(mark, synced=end, acknowledged=end, sealed=True), durable=True)


def _visit_records(path: Path, number: int, file: BinaryIO, limit: int, visit: Callable[[Record], None]) -> int:
    """Visits the records up to the first that is not whole; returns where that one begins."""
    end = RECORDS_START
    crc_start = frame_crc_start(file, number)
    file.seek(end)
    while (frame := read_frame(file, limit, crc_start)) is not None:
        kind, payload = frame
        try:
            visit(Record(kind, payload, Location(number, end, len(payload))))
        except ValueError as error:
            raise CorruptLog(f"{path}: the record at byte {end} does not fit those before it: {error}") from error
        end += FRAME_BYTES + len(payload)
    return end

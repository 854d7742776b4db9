"""Stores of small segments, and what lies in them."""

from pathlib import Path

from areal_mesh.replay.records import Record
from areal_mesh.replay.segments import SegmentStore

SEGMENT_BYTES = 4096


def read_all(directory: Path, first: int = 1) -> list[Record]:
    records: list[Record] = []
    SegmentStore(directory, SEGMENT_BYTES).recover(first, records.append)
    return records


def open_store(directory: Path, first: int = 1) -> SegmentStore:
    store = SegmentStore(directory, SEGMENT_BYTES)
    store.recover(first, lambda record: None)
    return store

"""What is done beside the thread that writes: the next segment made ahead, syncs behind the writing."""

import time
from pathlib import Path

import pytest

from areal_mesh.replay import segments as replay_segments
from areal_mesh.replay.segment_file import FRAME_BYTES, RECORDS_START, CorruptLog, read_mark
from tests.unit.segment_stores import SEGMENT_BYTES, open_store, read_all


def test_the_next_segment_is_made_ahead_and_no_file_of_it_is_left(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(7, [b"a" * 3000])
    before = store.bytes_on_disk
    store.write(7, [b"b" * 10])
    assert store.bytes_on_disk == before + RECORDS_START + SEGMENT_BYTES, "begun once half of this one is full"
    location = store.write(7, [b"c" * 3000])
    assert (location.segment, *store.read([location])) == (2, b"c" * 3000)
    store.write(7, [b"d" * 10])
    store.close()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000000001.segment", "0000000002.segment", "spare"]
    assert len(read_all(tmp_path)) == 4


def test_a_segment_made_ahead_that_is_too_small_for_a_record_is_not_taken(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(7, [b"a" * 3000])
    store.write(7, [b"b" * 10])
    long = store.write(7, [b"c" * (2 * SEGMENT_BYTES)])
    assert (long.segment, *store.read([long])) == (2, b"c" * (2 * SEGMENT_BYTES))
    store.close()
    assert [len(record.payload) for record in read_all(tmp_path)] == [3000, 10, 2 * SEGMENT_BYTES]


def test_syncs_behind_the_writing_are_noted_in_the_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_segments, "_BEHIND_BYTES", 1000)
    store = open_store(tmp_path)
    path = tmp_path / "0000000001.segment"
    deadline = time.monotonic() + 30.0
    first = store.write(7, [b"a" * 1000])
    synced = RECORDS_START
    while synced <= first.offset:
        assert time.monotonic() < deadline
        store.sync_behind()
        store.acknowledge()
        with path.open("rb") as file:
            synced = read_mark(path, file, 1).synced
    assert synced == first.offset + FRAME_BYTES + 1000
    store.close()


def test_what_was_placed_is_in_the_file_once_it_is_flushed_in_its_order(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    locations = [store.place(7, [b"%d" % number] * 3) for number in range(50)]
    with pytest.raises(CorruptLog):
        list(store.read(locations[:1]))
    store.flush()
    assert list(store.read(locations)) == [b"%d" % number * 3 for number in range(50)]
    store.close()

"""The segment files: what comes back after a clean end, a torn write, and damage."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.replay.segments import CorruptLog, Location, Record, SegmentStore

SEGMENT_BYTES = 4096


def read_all(directory: Path, first: int = 1) -> list[Record]:
    records: list[Record] = []
    SegmentStore(directory, SEGMENT_BYTES).recover(first, records.append)
    return records


def open_store(directory: Path, first: int = 1) -> SegmentStore:
    store = SegmentStore(directory, SEGMENT_BYTES)
    store.recover(first, lambda record: None)
    return store


def write_all(directory: Path, payloads: list[bytes]) -> list[Location]:
    store = open_store(directory)
    locations = [store.write(7, [payload]) for payload in payloads]
    store.sync()
    return locations


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


@given(payloads=st.lists(st.binary(max_size=3000), max_size=12), closed=st.booleans())
@settings(max_examples=30, deadline=None)
def test_records_come_back_in_order_over_any_number_of_segments(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], closed: bool
) -> None:
    directory = tmp_path_factory.mktemp("log")
    store = open_store(directory)
    locations = [store.write(1 + index, [payload[:5], payload[5:]]) for index, payload in enumerate(payloads)]
    store.sync()
    if closed:
        store.close()
    assert [store.read(location) for location in locations] == payloads
    found = read_all(directory)
    assert [(record.kind, record.payload, record.location) for record in found] == [
        (1 + index, payload, location)
        for index, (payload, location) in enumerate(zip(payloads, locations, strict=True))
    ]


def test_a_record_longer_than_a_segment_gets_a_segment_of_its_own_length(tmp_path: Path) -> None:
    payload = os.urandom(3 * SEGMENT_BYTES)
    location = write_all(tmp_path, [b"before", payload, b"after"])[1]
    assert open_store(tmp_path).read(location) == payload
    assert [record.payload for record in read_all(tmp_path)] == [b"before", payload, b"after"]


@given(cut=st.integers(min_value=1, max_value=1000))
@settings(max_examples=25, deadline=None)
def test_a_torn_last_record_is_dropped_and_its_place_written_again(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    torn = write_all(directory, [b"one", b"two", b"x" * 1000])[2]
    with segments(directory)[0].open("r+b") as file:
        file.seek(torn.offset + 9 + torn.length - cut)
        file.write(b"\0" * cut)
    assert [record.payload for record in read_all(directory)] == [b"one", b"two"]
    again = open_store(directory)
    again.write(7, [b"three"])
    again.sync()
    assert [record.payload for record in read_all(directory)] == [b"one", b"two", b"three"]


def test_a_torn_record_hides_whole_ones_behind_it_for_good(tmp_path: Path) -> None:
    locations = write_all(tmp_path, [b"kept", b"torn", b"behind"])
    with segments(tmp_path)[0].open("r+b") as file:
        file.seek(locations[1].offset)
        file.write(b"\0" * 9)
    assert [record.payload for record in read_all(tmp_path)] == [b"kept"]
    assert [record.payload for record in read_all(tmp_path)] == [b"kept"]
    assert segments(tmp_path)[0].stat().st_size == locations[1].offset


def test_damage_before_the_newest_segment_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    first, *_ = write_all(tmp_path, [b"a" * 3000, b"b" * 3000, b"c" * 3000])
    with segments(tmp_path)[0].open("r+b") as file:
        file.seek(first.offset + 100)
        file.write(b"?")
    with pytest.raises(CorruptLog, match=r"0000000001\.segment"):
        read_all(tmp_path)


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    write_all(tmp_path, [b"a" * 3000, b"b" * 3000, b"c" * 3000])
    segments(tmp_path)[1].unlink()
    with pytest.raises(CorruptLog, match=r"\[2\] are missing"):
        read_all(tmp_path)


def test_a_file_under_another_segment_s_name_is_an_error(tmp_path: Path) -> None:
    write_all(tmp_path, [b"a"])
    segments(tmp_path)[0].rename(tmp_path / "0000000002.segment")
    with pytest.raises(CorruptLog, match="header"):
        read_all(tmp_path, first=2)


def test_a_segment_that_never_got_its_name_is_removed(tmp_path: Path) -> None:
    write_all(tmp_path, [b"a"])
    (tmp_path / "0000000002.new").write_bytes(b"\0" * 100)
    assert [record.payload for record in read_all(tmp_path)] == [b"a"]
    assert not list(tmp_path.glob("*.new"))


def test_a_read_checks_the_record(tmp_path: Path) -> None:
    location = write_all(tmp_path, [b"payload"])[0]
    with segments(tmp_path)[0].open("r+b") as file:
        file.seek(location.offset + 10)
        file.write(b"?")
    with pytest.raises(CorruptLog, match="checksum"):
        SegmentStore(tmp_path, SEGMENT_BYTES).read(location)


def test_deleted_segments_are_gone_and_numbers_go_on(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    locations = [store.write(7, [name * 3000]) for name in (b"a", b"b", b"c")]
    store.close()
    before = store.bytes_on_disk
    store.delete_through(2)
    assert [path.stem for path in segments(tmp_path)] == ["0000000003"]
    assert store.bytes_on_disk < before
    with pytest.raises(FileNotFoundError):
        store.read(locations[0])
    store.delete_through(3)
    assert open_store(tmp_path, first=4).write(7, [b"d"]).segment == 4


def test_segments_before_the_first_asked_for_are_deleted_on_opening(tmp_path: Path) -> None:
    write_all(tmp_path, [b"a" * 3000, b"b" * 3000, b"c" * 3000])
    assert [record.payload[:1] for record in read_all(tmp_path, first=3)] == [b"c"]
    assert [path.stem for path in segments(tmp_path)] == ["0000000003"]


def test_a_sealed_segment_takes_no_more_than_its_records(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(7, [b"a" * 100])
    assert segments(tmp_path)[0].stat().st_size == SEGMENT_BYTES
    store.close()
    assert store.bytes_on_disk == segments(tmp_path)[0].stat().st_size < 200

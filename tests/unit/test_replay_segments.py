"""The segment files: what comes back after a clean end, a torn write, and damage."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.replay import segment_file
from areal_mesh.replay.records import Location, Record
from areal_mesh.replay.segment_file import BLOCK_BYTES, FRAME_BYTES, RECORDS_START, CorruptLog
from areal_mesh.replay.segments import SegmentStore
from tests.unit.segment_stores import SEGMENT_BYTES, open_store, read_all


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
    assert list(store.read(locations)) == payloads
    found = read_all(directory)
    assert [(record.kind, record.payload, record.location) for record in found] == [
        (1 + index, payload, location)
        for index, (payload, location) in enumerate(zip(payloads, locations, strict=True))
    ]


def test_a_record_longer_than_a_segment_gets_a_segment_of_its_own_length(tmp_path: Path) -> None:
    payload = os.urandom(3 * SEGMENT_BYTES)
    location = write_all(tmp_path, [b"before", payload, b"after"])[1]
    assert list(open_store(tmp_path).read([location])) == [payload]
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
        list(SegmentStore(tmp_path, SEGMENT_BYTES).read([location]))


def test_deleted_segments_are_gone_and_numbers_go_on(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    locations = [store.write(7, [name * 3000]) for name in (b"a", b"b", b"c")]
    store.close()
    store.delete_through(2)
    assert [path.stem for path in segments(tmp_path)] == ["0000000003"]
    with pytest.raises(FileNotFoundError):
        list(store.read(locations[:1]))
    store.delete_through(3)
    assert open_store(tmp_path, first=4).write(7, [b"d"]).segment == 4


def test_segments_before_the_first_asked_for_are_deleted_on_opening(tmp_path: Path) -> None:
    write_all(tmp_path, [b"a" * 3000, b"b" * 3000, b"c" * 3000])
    assert [record.payload[:1] for record in read_all(tmp_path, first=3)] == [b"c"]
    assert [path.stem for path in segments(tmp_path)] == ["0000000003"]


def test_a_sealed_segment_takes_no_more_than_its_records(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    spare = store.bytes_on_disk
    store.write(7, [b"a" * 100])
    assert segments(tmp_path)[0].stat().st_size == RECORDS_START + SEGMENT_BYTES
    store.close()
    assert segments(tmp_path)[0].stat().st_size == RECORDS_START + FRAME_BYTES + 100 == store.bytes_on_disk - spare


def acknowledged(directory: Path, payloads: list[bytes]) -> list[Location]:
    """Writes and acknowledges records; the segment stays open, as a killed process leaves it."""
    store = open_store(directory)
    locations = [store.write(7, [payload]) for payload in payloads]
    store.sync()
    store.acknowledge()
    return locations


def damage(directory: Path, byte: int) -> Path:
    newest = segments(directory)[-1]
    with newest.open("r+b") as file:
        file.seek(byte)
        (old,) = file.read(1)
        file.seek(byte)
        file.write(bytes([old ^ 1]))
    return newest


def test_damage_to_the_last_acknowledged_record_of_the_newest_segment_is_refused_by_name(tmp_path: Path) -> None:
    last = acknowledged(tmp_path, [b"one", b"two", b"three"])[2]
    path = damage(tmp_path, last.offset + FRAME_BYTES)
    whole = path.read_bytes()
    with pytest.raises(CorruptLog, match=rf"{path}: damaged at byte {last.offset}, though .* acknowledged"):
        read_all(tmp_path)
    assert path.read_bytes() == whole


def test_zeros_in_place_of_acknowledged_records_are_no_end(tmp_path: Path) -> None:
    first = acknowledged(tmp_path, [b"one", b"two", b"three"])[0]
    with segments(tmp_path)[0].open("r+b") as file:
        file.seek(first.offset)
        file.write(b"\0" * 200)
    with pytest.raises(CorruptLog, match=f"damaged at byte {first.offset}"):
        read_all(tmp_path)


def test_what_was_written_after_the_last_acknowledgement_may_be_torn_in_any_order(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(7, [b"kept"])
    store.sync()
    store.acknowledge()
    torn = store.write(7, [b"torn"])
    store.write(7, [b"behind it, and whole"])
    damage(tmp_path, torn.offset)
    assert [record.payload for record in read_all(tmp_path)] == [b"kept"]
    assert segments(tmp_path)[0].stat().st_size == torn.offset


def test_a_torn_mark_leaves_the_one_before(tmp_path: Path) -> None:
    acknowledged(tmp_path, [b"one"])
    for block in (1, 2):
        with segments(tmp_path)[0].open("rb") as file:
            whole = file.read()
        damage(tmp_path, block * BLOCK_BYTES)
        assert [record.payload for record in read_all(tmp_path)] == [b"one"]
        segments(tmp_path)[0].write_bytes(whole)


def test_without_a_whole_mark_nothing_is_read(tmp_path: Path) -> None:
    acknowledged(tmp_path, [b"one"])
    damage(tmp_path, BLOCK_BYTES)
    path = damage(tmp_path, 2 * BLOCK_BYTES)
    with pytest.raises(CorruptLog, match=rf"{path}: damaged at byte {BLOCK_BYTES}: neither of its marks"):
        read_all(tmp_path)


def test_an_acknowledgement_without_a_sync_counts_until_the_machine_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    store.write(7, [b"synced"])
    store.settle()
    lost = store.write(7, [b"in the cache of the system"])
    store.acknowledge()
    damage(tmp_path, lost.offset)
    with pytest.raises(CorruptLog, match=f"damaged at byte {lost.offset}"):
        read_all(tmp_path)
    monkeypatch.setattr(segment_file, "boot_id", lambda: "another")
    assert [record.payload for record in read_all(tmp_path)] == [b"synced"]


def test_a_record_that_contradicts_those_before_it_is_named(tmp_path: Path) -> None:
    last = acknowledged(tmp_path, [b"one", b"two"])[1]

    def visit(record: Record) -> None:
        if record.payload == b"two":
            raise ValueError("it is chosen twice")

    with pytest.raises(CorruptLog, match=rf"\.segment: the record at byte {last.offset} .* it is chosen twice"):
        SegmentStore(tmp_path, SEGMENT_BYTES).recover(1, visit)

"""Files of released segments become later ones, and nothing of what they held passes for a record of these."""

import os
from pathlib import Path

import google_crc32c
import pytest

from areal_mesh.replay.inspection.scanning import scan_segment
from areal_mesh.replay.records import Location, Record, read_record
from areal_mesh.replay.reused import ReusedFiles, open_segment
from areal_mesh.replay.segment_file import BLOCK_BYTES, FRAME_BYTES, MAGIC, OLD_MAGIC, RECORDS_START
from areal_mesh.replay.segments import SegmentStore
from areal_mesh.runtime.disk import preallocate
from tests.unit.segment_stores import SEGMENT_BYTES, open_store, read_all

RECORD = 100
MANY = 20


def payload(name: str, number: int) -> bytes:
    return f"{name}{number}".encode().ljust(RECORD, b".")


def released_store(directory: Path) -> tuple[SegmentStore, int]:
    """A store of which the first segment was full, and is released; and the inode of its file."""
    store = open_store(directory)
    for number in range(MANY):
        store.write(7, [payload("old", number)])
    store.write(7, [b"x" * SEGMENT_BYTES])
    inode = (directory / "0000000001.segment").stat().st_ino
    store.delete_through(1)
    assert [path.name for path in directory.glob("*.reused")] == ["0000000001.reused"]
    return store, inode


def test_a_released_file_becomes_the_next_segment_and_holds_its_records_alone(tmp_path: Path) -> None:
    store, inode = released_store(tmp_path)
    locations = [store.write(7, [payload("new", number)]) for number in range(3)]
    assert (tmp_path / "0000000003.segment").stat().st_ino == inode
    assert not list(tmp_path.glob("*.reused"))
    assert list(store.read(locations)) == [payload("new", number) for number in range(3)]
    with pytest.raises(FileNotFoundError):
        list(store.read([Location(1, RECORDS_START, RECORD)]))
    store.sync()
    store.acknowledge()
    assert [record.payload for record in read_all(tmp_path, first=3)] == list(store.read(locations))


@pytest.mark.parametrize("kept", range(4))
def test_a_whole_old_record_behind_the_new_ones_is_never_read(tmp_path: Path, kept: int) -> None:
    store, _ = released_store(tmp_path)
    old = (tmp_path / "0000000001.reused").read_bytes() if (tmp_path / "0000000001.reused").exists() else b""
    for number in range(3):
        store.write(7, [payload("new", number)])
    store.sync()
    path = tmp_path / "0000000003.segment"
    end = RECORDS_START + kept * (FRAME_BYTES + RECORD)
    # As a loss of power leaves it, which keeps some blocks of the new and not the ones behind them.
    with path.open("r+b") as file:
        file.seek(end)
        file.write(old[end:])
    _, damages = scan_segment(path, lambda record: None)
    assert damages == []
    expected = [payload("new", number) for number in range(kept)]
    assert [record.payload for record in read_all(tmp_path, first=3)] == expected
    assert path.stat().st_size == end, "what is not of this segment is cut off"


def test_a_file_that_somebody_reads_is_deleted_and_lives_on_for_them(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    location = store.write(7, [b"seen"])
    store.write(7, [b"x" * SEGMENT_BYTES])
    path = tmp_path / "0000000001.segment"
    with open_segment(path) as file:
        before = file.read()
        store.delete_through(1)
        assert not list(tmp_path.glob("*.reused"))
        store.write(7, [b"next"])
        file.seek(0)
        assert file.read() == before
    with pytest.raises(FileNotFoundError):
        read_record(path, location)


def test_whoever_comes_while_a_file_loses_its_name_finds_it_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0000000001.segment"
    path.write_bytes(bytes(100))
    rename = Path.rename
    found: list[str] = []

    def looked_at(old: Path, new: Path) -> Path:
        with pytest.raises(FileNotFoundError):
            open_segment(old)
        found.append(old.name)
        return rename(old, new)

    monkeypatch.setattr(Path, "rename", looked_at)
    ReusedFiles(tmp_path, 1000).put(path)
    assert found == [path.name]
    with pytest.raises(FileNotFoundError):
        open_segment(path)


def test_another_file_under_a_segment_s_name_is_not_the_one_that_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0000000001.segment"
    path.write_bytes(bytes(100))
    other = tmp_path / "other"
    other.write_bytes(bytes(100))
    opened = Path.open

    def taken(self: Path, *arguments: object, **options: object) -> object:
        file = opened(self, *arguments, **options)  # type: ignore[call-overload]
        other.rename(path)
        return file

    monkeypatch.setattr(Path, "open", taken)
    with pytest.raises(FileNotFoundError, match="another segment"):
        open_segment(path)


def test_no_more_are_kept_than_the_bounds_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reused = ReusedFiles(tmp_path, 1000)

    def put(number: int, size: int) -> None:
        path = tmp_path / f"{number:010d}.segment"
        path.write_bytes(bytes(size))
        reused.put(path)
        assert not path.exists()

    put(1, 1001)
    assert reused.bytes_on_disk == 0, "it is longer than a segment"
    monkeypatch.setattr("areal_mesh.replay.reused._MOST_BYTES", 1500)
    put(2, 1000)
    put(3, 1000)
    assert reused.bytes_on_disk == 1000
    monkeypatch.setattr("areal_mesh.replay.reused._MOST_BYTES", 1 << 40)
    monkeypatch.setattr(
        "areal_mesh.replay.reused.shutil.disk_usage", lambda path: type("Usage", (), {"free": 15_000})()
    )
    put(4, 1000)
    assert reused.bytes_on_disk == 1000, "a tenth of what is free"
    assert [reused.give_way(), reused.give_way()] == [True, False]


def test_what_is_kept_is_taken_after_a_restart_too(tmp_path: Path) -> None:
    store, inode = released_store(tmp_path)
    store.close()
    again = open_store(tmp_path, first=2)
    again.write(7, [b"next"])
    assert (tmp_path / "0000000003.segment").stat().st_ino == inode
    again.close()


def test_what_is_kept_goes_before_a_record_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = released_store(tmp_path)

    def full_while_any_is_kept(path: Path, capacity: int) -> int | None:
        return None if list(tmp_path.glob("*.reused")) else preallocate(path, capacity)

    monkeypatch.setattr("areal_mesh.replay.reused.preallocate", full_while_any_is_kept)
    location = store.write(7, [b"y" * (2 * SEGMENT_BYTES)])
    assert not list(tmp_path.glob("*.reused"))
    assert list(store.read([location])) == [b"y" * (2 * SEGMENT_BYTES)]


def old_segment(path: Path, number: int, payloads: list[bytes]) -> None:
    """A sealed segment of the format before, byte by byte."""

    def with_crc(content: bytes) -> bytes:
        return content + int(google_crc32c.value(content)).to_bytes(4, "little")

    header = OLD_MAGIC + number.to_bytes(8, "little") + (1 << 20).to_bytes(8, "little")
    records = b""
    for content in payloads:
        covered = len(content).to_bytes(4, "little") + b"\x07"
        records += int(google_crc32c.value(covered + content)).to_bytes(4, "little") + covered + content
    end = RECORDS_START + len(records)
    numbers = b"".join(value.to_bytes(8, "little") for value in (number, 2, end, end))
    mark = with_crc(numbers + b"\x01" + bytes(36))
    path.write_bytes(with_crc(header).ljust(BLOCK_BYTES, b"\0") + 2 * mark.ljust(BLOCK_BYTES, b"\0") + records)


def test_a_log_of_the_format_before_is_read_and_goes_on_in_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "0000000001.segment"
    old_segment(path, 1, [b"one", b"two"])
    before = path.read_bytes()
    store = open_store(tmp_path)
    store.write(7, [b"three"])
    store.sync()
    store.acknowledge()
    found = read_all(tmp_path)
    assert [record.payload for record in found] == [b"one", b"two", b"three"]
    assert list(store.read([record.location for record in found])) == [b"one", b"two", b"three"]
    assert path.read_bytes() == before
    seen: list[Record] = []
    facts, damages = scan_segment(path, seen.append)
    assert (facts.records, damages, seen) == (2, [], found[:2])


def test_a_header_whose_damage_makes_it_look_old_costs_no_record(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(7, [b"one"])
    store.close()
    path = tmp_path / "0000000001.segment"
    path.write_bytes(path.read_bytes().replace(MAGIC, OLD_MAGIC, 1))
    seen: list[Record] = []
    _, damages = scan_segment(path, seen.append)
    assert [record.payload for record in seen] == [b"one"]
    assert [damage.byte for damage in damages] == [0]


def test_a_file_is_written_anew_only_once_the_disk_knows_that_it_lost_its_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reused = ReusedFiles(tmp_path, 1000)
    for number in (1, 2):
        path = tmp_path / f"{number:010d}.segment"
        path.write_bytes(bytes(1000))
        reused.put(path)
    synced: list[set[str]] = []
    monkeypatch.setattr(
        "areal_mesh.replay.reused.sync_path", lambda folder: synced.append({path.name for path in folder.iterdir()})
    )
    for number in (3, 4):
        descriptor = reused.allocate(tmp_path / f"{number}.new", 1000)
        assert descriptor is not None
        os.close(descriptor)
    assert synced == [{"0000000001.reused", "0000000002.reused"}], "once for both, before either was given out"

"""The log for whoever only looks: what is acknowledged, whatever the writer does meanwhile; and what is kept of it."""

from pathlib import Path

import pytest

from areal_mesh.replay.kept import KeptSegments
from areal_mesh.replay.reading import CorruptLog, Entry, Position, entries, oldest_segment, read_group
from areal_mesh.replay.records import Location
from areal_mesh.replay.segment_file import RECORDS_START
from areal_mesh.replay.segments import SegmentStore
from areal_mesh.runtime.disk import preallocate
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import rollout_pb2
from tests.unit.rollout_logs import Answer, begin_run, group_of, open_log, store, train_on


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return begin_run(tmp_path)


def log_of(settings: RunSettings) -> Path:
    return settings.run_directory / "replay"


def group(settings: RunSettings, number: int) -> rollout_pb2.Group:
    return group_of(settings, number, "Problem", ["1"], [Answer("x" * 300)], "")


async def write(settings: RunSettings, count: int, segment_bytes: int = 6000) -> None:
    buffer = open_log(settings, segment_bytes)
    for number in range(count):
        await store(buffer, group(settings, number))
        await train_on(buffer, number + 1, 1)
    buffer.close()


def ids(found: list[Entry]) -> list[str]:
    return [entry.group.group_id for entry in found if entry.group is not None]


async def test_entries_are_read_on_from_where_reading_ended(settings: RunSettings) -> None:
    await write(settings, 7)
    everything = list(entries(log_of(settings), Position()))
    assert ids(everything) == [f"g{number:08d}" for number in range(7)]
    assert len({entry.location.segment for entry in everything}) > 2
    for place, entry in enumerate(everything):
        assert list(entries(log_of(settings), entry.next)) == everything[place + 1 :]


async def test_a_group_is_read_where_its_segment_was_moved_to_and_not_once_it_is_gone(settings: RunSettings) -> None:
    await write(settings, 7)
    folder = log_of(settings)
    everything = list(entries(folder, Position()))
    first = everything[0]
    (folder / "kept").mkdir()
    for number in (1, 2):
        name = f"{number:010d}.segment"
        (folder / "groups" / name).rename(folder / "kept" / name)
    assert list(entries(folder, Position())) == everything
    assert read_group(folder, first.location) == first.group
    (folder / "kept" / "0000000001.segment").unlink()
    assert read_group(folder, first.location) is None
    assert oldest_segment(folder) == 2
    assert list(entries(folder, Position())) == [entry for entry in everything if entry.location.segment > 1]


def test_what_was_not_acknowledged_is_not_seen(tmp_path: Path) -> None:
    segments = SegmentStore(tmp_path / "groups", 10_000)
    segments.recover(1, lambda record: None)
    released = (1).to_bytes(8, "little")
    segments.write(4, [released])
    assert list(entries(tmp_path, Position())) == []
    segments.acknowledge()
    [entry] = entries(tmp_path, Position())
    segments.write(4, [released])
    assert list(entries(tmp_path, entry.next)) == []
    segments.acknowledge()
    assert len(list(entries(tmp_path, entry.next))) == 1
    segments.close()


async def test_a_damaged_record_ends_its_segment_and_a_damaged_header_is_named(settings: RunSettings) -> None:
    await write(settings, 7)
    everything = list(entries(log_of(settings), Position()))
    second = next(entry for entry in everything if entry.location.segment == 2)
    path = log_of(settings) / "groups" / "0000000002.segment"
    content = bytearray(path.read_bytes())
    content[second.location.offset + 40] ^= 1
    path.write_bytes(content)
    left = list(entries(log_of(settings), Position()))
    assert left == [entry for entry in everything if entry.location.segment != 2]
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptLog, match=r"0000000002\.segment: damaged at byte 0"):
        list(entries(log_of(settings), Position()))


def make_segments(folder: Path, *numbers: int, size: int = 1000) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:010d}.segment" for number in numbers]
    for path in paths:
        path.write_bytes(bytes(size))
    return paths


def test_the_newest_segments_are_kept_up_to_the_bound(tmp_path: Path) -> None:
    kept = KeptSegments(tmp_path / "kept", 2500)
    for path in make_segments(tmp_path / "groups", 1, 2, 3):
        kept.take(path)
    assert sorted(path.stem for path in (tmp_path / "kept").iterdir()) == ["0000000002", "0000000003"]
    assert kept.bytes_on_disk == 2000
    assert [kept.give_way(), kept.give_way(), kept.give_way()] == [True, True, False]


def test_without_a_bound_nothing_is_kept(tmp_path: Path) -> None:
    kept = KeptSegments(tmp_path / "kept", 0)
    [path] = make_segments(tmp_path / "groups", 1)
    kept.take(path)
    assert not path.exists()
    assert not (tmp_path / "kept").exists()


def test_kept_segments_take_no_more_than_a_share_of_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.replay.kept.shutil.disk_usage", lambda path: type("Usage", (), {"free": 15_000})())
    kept = KeptSegments(tmp_path / "kept", 1 << 40)
    for path in make_segments(tmp_path / "groups", 1, 2, 3):
        kept.take(path)
    assert [path.stem for path in (tmp_path / "kept").iterdir()] == ["0000000003"]


def test_kept_segments_go_before_a_group_is_refused_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_segments(tmp_path / "kept", 1, 2)
    store = SegmentStore(tmp_path / "groups", 1000, spare_bytes=1000, kept_bytes=10_000)
    store.recover(3, lambda record: None)

    def full_while_something_is_kept(path: Path, capacity: int) -> int | None:
        return None if list((tmp_path / "kept").iterdir()) else preallocate(path, capacity)

    monkeypatch.setattr("areal_mesh.replay.reused.preallocate", full_while_something_is_kept)
    assert store.write(1, [b"group"]) == Location(3, RECORDS_START, 5)
    assert not list((tmp_path / "kept").iterdir())
    store.close()


async def test_a_crash_before_a_released_segment_was_moved_loses_nothing_of_it(
    settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = open_log(settings, segment_bytes=4000, kept_bytes=1 << 20)
    for number in range(3):
        await store(buffer, group(settings, number))
        await train_on(buffer, number + 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(buffer._log, "delete_through", lambda number: None)
        await buffer.release(3)
    buffer.close()
    assert not (log_of(settings) / "kept").exists()
    open_log(settings, segment_bytes=4000, kept_bytes=1 << 20).close()
    assert list((log_of(settings) / "kept").iterdir())
    assert ids(list(entries(log_of(settings), Position()))) == [f"g{number:08d}" for number in range(3)]

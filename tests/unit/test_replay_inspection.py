"""A log read from outside: what is in it, each damage by its byte, the groups behind a damage; never a byte changed."""

import asyncio
import random
import struct
from pathlib import Path

import pytest

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.events import GroupSummary
from areal_mesh.replay.inspection.contents import GroupEnd
from areal_mesh.replay.inspection.reading import NotInLog, ReplayLog, read_log
from areal_mesh.replay.segment_file import RECORDS_START
from tests.unit.inspected_log import SEGMENT_BYTES, fill, flip, group, segments


def filled(directory: Path, groups: int = 12, steps: int = 3, release: int = 0, keep: bool = False) -> ReplayLog:
    asyncio.run(fill(directory, groups, steps, release, keep)).close()
    return read_log(directory, whole_groups=True)


def test_it_holds_what_was_stored_drawn_dropped_and_set_aside(tmp_path: Path) -> None:
    log = filled(tmp_path)
    assert log.damages == []
    assert log.contents.batches == {1: ("g0", "g1"), 2: ("g2", "g3"), 3: ("g4", "g7")}
    ends = {group_id: found.end for group_id, found in log.contents.groups.items()}
    assert ends.pop("g5") is GroupEnd.STALE
    assert ends.pop("g6") is GroupEnd.SET_ASIDE
    assert [group_id for group_id, end in ends.items() if end is GroupEnd.WAITING] == ["g8", "g9", "g10", "g11"]
    assert log.batch(2) == [group(2), group(3)]
    assert log.steps_line() == "whole are steps 1 to 3"


def test_a_log_that_is_being_written_reads_the_same(tmp_path: Path) -> None:
    buffer = asyncio.run(fill(tmp_path))
    log = read_log(tmp_path, whole_groups=True)
    assert (log.damages, len(log.contents.groups), log.segments[-1].sealed) == ([], 12, False)
    buffer.close()


def test_what_is_released_is_gone_unless_it_is_kept(tmp_path: Path) -> None:
    gone = filled(tmp_path / "gone", groups=30, steps=8, release=8)
    kept = filled(tmp_path / "kept", groups=30, steps=8, release=8, keep=True)
    assert gone.contents.retired >= {"g0", "g1"}
    with pytest.raises(NotInLog, match="its segment is deleted"):
        gone.group("g0")
    assert gone.damages == []
    assert kept.contents.whole_steps() == list(range(1, 9))
    assert kept.contents.released_step == 8
    ReplayBuffer(tmp_path / "kept", 1 << 20, SEGMENT_BYTES, keep_released=True).close()
    assert read_log(tmp_path / "kept").contents.whole_steps() == list(range(1, 9)), "opened again, it keeps them too"


def test_a_damaged_group_is_named_and_what_lies_behind_it_is_read(tmp_path: Path) -> None:
    log = filled(tmp_path)
    third = log.contents.groups["g2"].location
    path = segments(tmp_path)[third.segment - 1]
    flip(path, third.offset + 200)
    before = {each: each.read_bytes() for each in segments(tmp_path)}
    found = read_log(tmp_path, whole_groups=True)
    [damage] = found.damages
    assert (damage.path, damage.byte) == (path, third.offset)
    assert set(log.contents.groups) - set(found.contents.groups) == {"g2"}
    assert found.steps_line() == "whole are steps 1 to 1, 3 to 3"
    with pytest.raises(NotInLog, match=r"of the batch of step 2, 1 groups are not in the log any more \(g2"):
        found.batch(2)
    assert before == {each: each.read_bytes() for each in segments(tmp_path)}


@pytest.mark.parametrize("byte", range(9))
def test_a_damaged_head_of_a_record_hides_nothing_behind_it(tmp_path: Path, byte: int) -> None:
    log = filled(tmp_path)
    location = log.contents.groups["g1"].location
    flip(segments(tmp_path)[location.segment - 1], location.offset + byte, bit=5)
    found = read_log(tmp_path)
    assert [damage.byte for damage in found.damages] == [location.offset]
    assert set(log.contents.groups) - set(found.contents.groups) == {"g1"}


def test_a_group_whose_own_checksum_is_wrong_is_named(tmp_path: Path) -> None:
    bad = group(0)
    bad.crc32c += 1

    async def store() -> None:
        buffer = ReplayBuffer(tmp_path, 1 << 20, SEGMENT_BYTES)
        await buffer.append(GroupSummary("g0", 0, 3, bad.ByteSize()), bad.SerializeToString())
        buffer.close()

    asyncio.run(store())
    assert read_log(tmp_path).damages == []
    [damage] = read_log(tmp_path, whole_groups=True).damages
    assert damage.byte == RECORDS_START
    assert "group g0 has the checksum" in damage.what


def test_missing_and_cut_files_are_named(tmp_path: Path) -> None:
    log = filled(tmp_path, groups=40)
    assert len(log.segments) > 3
    second, last = segments(tmp_path)[1], segments(tmp_path)[-1]
    second.unlink()
    cut = last.stat().st_size - 3
    last.write_bytes(last.read_bytes()[:cut])
    damages = {damage.path: damage for damage in read_log(tmp_path).damages}
    assert damages[second].what == "the file is missing"
    assert "were acknowledged" in damages[last].what
    assert damages[last].byte <= cut


def test_no_flipped_bit_gives_a_wrong_group_and_each_is_named_or_harmless(tmp_path: Path) -> None:
    log = filled(tmp_path)
    chance = random.Random(17)
    for _ in range(300):
        path = chance.choice(segments(tmp_path))
        sound = path.read_bytes()
        byte, bit = chance.randrange(len(sound)), chance.randrange(8)
        flip(path, byte, bit)
        found = read_log(tmp_path, whole_groups=True)
        for group_id in found.contents.groups:
            assert found.group(group_id) == group(int(group_id[1:]))
        lost = set(log.contents.groups) - set(found.contents.groups)
        assert len(lost) <= 1
        assert found.damages or not lost
        assert all(damage.byte <= byte for damage in found.damages)
        path.write_bytes(sound)


def test_a_folder_without_a_log_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(NotInLog, match="no replay log is there"):
        read_log(tmp_path)


def test_the_frame_of_a_record_is_what_the_page_says(tmp_path: Path) -> None:
    log = filled(tmp_path)
    first = log.contents.groups["g0"].location
    head = segments(tmp_path)[0].read_bytes()[first.offset : first.offset + 9]
    assert struct.unpack("<IIB", head)[1:] == (first.length, 1)


def test_segments_that_were_moved_aside_to_be_looked_at_are_read_too(tmp_path: Path) -> None:
    log = filled(tmp_path, groups=30)
    (tmp_path / "kept").mkdir()
    first = segments(tmp_path)[0]
    first.rename(tmp_path / "kept" / first.name)
    moved = read_log(tmp_path)
    assert (moved.contents, moved.damages) == (log.contents, [])
    assert moved.group("g0") == group(0)

"""The replay buffer on a disk that is full to its last byte: groups wait, decisions go on, releases free it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import GroupSummary
from areal_mesh.replay.segments import LogFull
from tests.integration.small_disk import fill, small_disk

SIZE = 100_000
SEGMENT_BYTES = 1 << 20


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Path]:
    with small_disk(tmp_path / "disk", 12) as folder:
        yield folder


async def store(buffer: ReplayBuffer, number: int) -> None:
    await buffer.append(GroupSummary(f"g{number}", number, number // 2, SIZE), bytes([number]) * SIZE)


async def store_until_full(buffer: ReplayBuffer) -> int:
    stored = 0
    while True:
        try:
            await store(buffer, stored)
        except LogFull:
            return stored
        stored += 1


async def test_a_full_disk_refuses_groups_and_nothing_else_and_releases_free_it(disk: Path) -> None:
    buffer = ReplayBuffer(disk / "replay", 1 << 30, SEGMENT_BYTES)
    assert buffer.full == ""
    stored = await store_until_full(buffer)
    fill(disk)
    assert stored > 40
    assert "free space there" in buffer.full
    for step in range(1, 16):
        assert (await buffer.draw(DrawRequest(step, 2, step, 1), 0)).group_ids == (
            f"g{2 * step - 2}",
            f"g{2 * step - 1}",
        )
        with pytest.raises(LogFull):
            await store(buffer, stored)
    assert await buffer.evict(18, 1) == ("g30", "g31", "g32", "g33")
    await buffer.release(15)
    assert buffer.full == "", "the released segments are gone, and with them the fault"
    await store(buffer, stored)
    buffer.close()
    again = ReplayBuffer(disk / "replay", 1 << 30, SEGMENT_BYTES)
    statistics = again.statistics(0)
    assert (statistics.last_drawn_step, statistics.released_step) == (15, 15)
    assert statistics.waiting_groups == stored + 1 - 34
    again.close()


async def test_a_log_is_opened_and_released_on_a_full_disk(disk: Path) -> None:
    buffer = ReplayBuffer(disk / "replay", 1 << 30, SEGMENT_BYTES)
    await store_until_full(buffer)
    assert (await buffer.draw(DrawRequest(1, 10, 1, 1), 0)).group_ids is not None
    buffer.close()
    fill(disk)
    again = ReplayBuffer(disk / "replay", 1 << 30, SEGMENT_BYTES)
    assert (await again.draw(DrawRequest(1, 10, 1, 1), 0)).group_ids is not None
    await again.release(1)
    again.close()


async def test_decisions_that_the_spare_has_no_room_for_are_refused_before_they_count(disk: Path) -> None:
    buffer = ReplayBuffer(disk / "replay", 1 << 30, SEGMENT_BYTES)
    names = [f"{number:08d}" + "x" * 240 for number in range(6000)]
    for start in range(0, len(names), 500):
        groups = [GroupSummary(name, start, start // 500, 100) for name in names[start : start + 500]]
        await asyncio.gather(*(buffer.append(group, bytes(100)) for group in groups))
    await store_until_full(buffer)
    fill(disk)
    evicted = 0
    with pytest.raises(LogFull, match="free space there"):  # noqa: PT012 the round that the spare has no room for
        for version in range(1, len(names) // 500 + 1):
            evicted += len(await buffer.evict(version, 0))
    waiting = buffer.statistics(0).waiting_groups
    assert 0 < evicted < len(names)
    await buffer.release(1)
    buffer.close()
    again = ReplayBuffer(disk / "replay", 1 << 30, SEGMENT_BYTES)
    assert again.statistics(0).waiting_groups == waiting, "what was refused was not decided"
    assert again.statistics(0).released_step == 1
    again.close()

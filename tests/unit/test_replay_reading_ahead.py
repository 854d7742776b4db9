"""A batch is read some MB at a time, ahead of whoever takes it; what happens to it meanwhile is told."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from areal_mesh.replay import reading_ahead
from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.records import Location
from areal_mesh.replay.segment_file import CorruptLog
from areal_mesh.runtime.errors import MeshError
from tests.unit.replay_buffers import SIZE, draw, open_buffer, payload, store

NAMES = [f"g{number}" for number in range(9)]


@pytest.fixture
def in_turns_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_ahead, "_FIRST_TURN_BYTES", SIZE)
    monkeypatch.setattr(reading_ahead, "_TURN_BYTES", 2 * SIZE)


async def drawn(directory: Path) -> ReplayBuffer:
    buffer = open_buffer(directory)
    await store(buffer, *NAMES)
    assert await draw(buffer, 1, len(NAMES)) == NAMES
    return buffer


async def test_a_batch_of_many_turns_comes_in_its_order(tmp_path: Path, in_turns_of_two: None) -> None:
    buffer = await drawn(tmp_path)
    assert [group async for group in buffer.read(NAMES)] == [payload(name) for name in NAMES]
    assert [group async for group in buffer.read([])] == []
    buffer.close()


async def test_the_next_turn_is_read_while_one_is_taken_and_no_more_than_that(
    tmp_path: Path, in_turns_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = await drawn(tmp_path)
    turns: list[int] = []
    read = buffer._log.read

    def counted(locations: Sequence[Location]) -> Iterator[bytes]:
        turns.append(len(locations))
        return read(locations)

    monkeypatch.setattr(buffer._log, "read", counted)
    groups = buffer.read(NAMES)
    begun = []
    async for _ in groups:
        begun.append(sum(turns))
    assert turns == [1, 2, 2, 2, 2], "the caller waits for the first"
    assert all(ahead <= taken + 4 for taken, ahead in enumerate(begun)), begun
    buffer.close()


async def test_a_batch_that_is_released_while_it_is_taken_is_refused(tmp_path: Path, in_turns_of_two: None) -> None:
    buffer = await drawn(tmp_path)
    groups = buffer.read(NAMES)
    assert await anext(groups) == payload("g0")
    await buffer.release(1)
    with pytest.raises(MeshError, match="was released while it was drawn"):
        async for _ in groups:
            pass
    buffer.close()


async def test_damage_to_a_record_that_is_read_breaks_the_buffer(tmp_path: Path) -> None:
    buffer = await drawn(tmp_path)
    location = buffer._state.location("g4")
    assert location is not None
    with (tmp_path / "groups" / f"{location.segment:010d}.segment").open("r+b") as file:
        file.seek(location.offset + location.length)
        file.write(b"?")
    with pytest.raises(CorruptLog, match="fails its checksum"):
        async for _ in buffer.read(NAMES):
            pass
    with pytest.raises(CorruptLog, match="fails its checksum"):
        await buffer.watch()
    buffer.close()

"""The buffer's bound in bytes: when a group is refused, and when a batch could never be drawn."""

import asyncio
from pathlib import Path

import grpc
import pytest

from areal_mesh.replay import waiting_room
from areal_mesh.replay.events import GroupSummary
from areal_mesh.runtime.errors import MeshError
from tests.unit.replay_buffers import SIZE, draw, open_buffer, store


async def test_a_full_buffer_refuses_until_a_batch_is_drawn(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, limit=2 * SIZE)
    await store(buffer, "a", "b")
    with pytest.raises(MeshError) as refused:
        await store(buffer, "c")
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "waiting_bytes" in refused.value.message
    assert await draw(buffer, 1, 2) == ["a", "b"]
    assert await store(buffer, "c") == [False]
    buffer.close()


async def test_a_group_that_was_stored_proves_that_the_buffer_is_not_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_room, "_STUCK_SECONDS", 0.0)
    buffer = open_buffer(tmp_path, limit=3 * SIZE)
    await store(buffer, "a", "b")
    with pytest.raises(MeshError):
        await buffer.append(GroupSummary("large", 9, 0, 2 * SIZE), b"x" * 2 * SIZE)
    await store(buffer, "c")
    assert await draw(buffer, 1, 4) is None
    assert await draw(buffer, 1, 3) == ["a", "b", "c"]
    buffer.close()


async def test_appends_in_flight_count_towards_the_bound(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, limit=3 * SIZE)
    answers = await asyncio.gather(*(store(buffer, f"g{n}") for n in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, MeshError) for answer in answers) == 5
    assert buffer.statistics(0).waiting_bytes == 3 * SIZE
    buffer.close()


async def test_a_group_that_could_never_fit_is_refused_for_good(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, limit=SIZE - 1)
    with pytest.raises(MeshError, match="raise that setting") as refused:
        await store(buffer, "a")
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    buffer.close()


async def test_a_batch_that_does_not_fit_in_the_bound_is_an_error_and_no_endless_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = open_buffer(tmp_path, limit=2 * SIZE)
    await store(buffer, "a", "b")
    assert await draw(buffer, 1, 3) is None
    with pytest.raises(MeshError):
        await store(buffer, "c")
    assert await draw(buffer, 1, 3) is None, "smaller groups may still come"
    monkeypatch.setattr(waiting_room, "_STUCK_SECONDS", 0.0)
    with pytest.raises(MeshError, match="a batch needs 3") as refused:
        await draw(buffer, 1, 3)
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    buffer.close()

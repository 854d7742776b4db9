"""Draws that wait: for groups to be stored, and for running groups that no later step could train."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from areal_mesh.replay import buffer as replay_buffer
from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.runtime.errors import MeshError
from tests.unit.replay_buffers import DEADLINE, SIZE, open_buffer, store


async def woken(
    buffer: ReplayBuffer, act: Callable[[], Awaitable[object]]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """What a draw of two groups at version 2, bound 1, that waits gives once `act` is done."""
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        drawing = tasks.create_task(buffer.draw(DrawRequest(3, 2, 2, 1), 10 * DEADLINE))
        await asyncio.sleep(0)
        assert not drawing.done()
        await act()
        drawn = await drawing
    return drawn.group_ids, drawn.stale_group_ids


async def test_a_draw_wakes_as_soon_as_there_are_enough_groups(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, "a", oldest=2)
    assert await woken(buffer, lambda: store(buffer, "b", oldest=2)) == (("a", "b"), ())
    buffer.close()


def held_request(step: int = 2) -> DrawRequest:
    """Of one group at version 1, bound 1, while another that no later step could train still runs."""
    return DrawRequest(step, 1, 1, 1, running={"slow": 0})


def open_patient(directory: Path, seconds: float, limit: int = 100 * SIZE) -> ReplayBuffer:
    return ReplayBuffer(directory, limit, 3 * SIZE, patience_seconds=seconds)


async def test_a_held_draw_takes_the_running_group_as_soon_as_it_is_stored(tmp_path: Path) -> None:
    buffer = open_patient(tmp_path, DEADLINE)
    await store(buffer, "quick", oldest=1)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        drawing = tasks.create_task(buffer.draw(held_request(), DEADLINE))
        await asyncio.sleep(0)
        await store(buffer, "slow", oldest=0)
    assert drawing.result().group_ids == ("slow",)
    buffer.close()


async def test_a_held_draw_comes_back_to_be_asked_anew_and_its_patience_counts_over_all_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_buffer, "_HELD_SECONDS", 0.05)
    buffer = open_patient(tmp_path, 0.2)
    await store(buffer, "quick", oldest=1)
    calls = 1
    async with asyncio.timeout(DEADLINE):
        while (drawn := await buffer.draw(held_request(), DEADLINE)).group_ids is None:
            calls += 1
    assert drawn.group_ids == ("quick",)
    assert 2 <= calls <= 5
    assert buffer.statistics(1).held_seconds == pytest.approx(0.2, abs=0.1)
    buffer.close()


async def test_each_step_has_its_own_patience(tmp_path: Path) -> None:
    buffer = open_patient(tmp_path, 0.05)
    await store(buffer, "a", "b", oldest=1)
    assert (await buffer.draw(held_request(2), DEADLINE)).group_ids == ("a",)
    before = buffer.statistics(1).held_seconds
    assert (await buffer.draw(held_request(3), DEADLINE)).group_ids == ("b",)
    assert buffer.statistics(1).held_seconds >= before + 0.05
    buffer.close()


async def test_without_patience_a_draw_waits_for_no_running_group(tmp_path: Path) -> None:
    buffer = open_patient(tmp_path, 0.0)
    await store(buffer, "quick", oldest=1)
    assert (await buffer.draw(held_request(), 0)).group_ids == ("quick",)
    buffer.close()


async def test_a_full_buffer_is_drawn_from_though_a_running_group_is_awaited(tmp_path: Path) -> None:
    """It has no room for what is awaited, so that waiting would be for nothing."""
    buffer = open_patient(tmp_path, 10 * DEADLINE, limit=SIZE)
    await store(buffer, "quick", oldest=1)
    with pytest.raises(MeshError):
        await store(buffer, "slow", oldest=0)
    assert (await buffer.draw(held_request(), DEADLINE)).group_ids == ("quick",)
    buffer.close()


async def test_a_draw_comes_back_when_groups_turn_out_too_old(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    assert await woken(buffer, lambda: store(buffer, "old", oldest=0)) == (None, ("old",))
    await store(buffer, "a", "b", oldest=2)
    drawn = await buffer.draw(DrawRequest(3, 2, 2, 1), 0)
    assert (drawn.group_ids, drawn.stale_group_ids) == (("a", "b"), ("old",))
    buffer.close()
    again = open_buffer(tmp_path)
    assert await again.draw(DrawRequest(3, 2, 2, 1), 0) == drawn
    again.close()


async def test_a_draw_comes_back_when_the_service_drains(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)

    async def drain() -> None:
        buffer.drain()

    assert await woken(buffer, drain) == (None, ())
    buffer.close()

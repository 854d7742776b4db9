"""The buffer on a real disk: bounds, waiting, restarts, and that the log alone gives the same state again."""

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.replay import buffer as replay_buffer
from areal_mesh.replay import waiting_room
from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import StepReleased
from areal_mesh.replay.events import GroupSummary, RetiredGroup
from areal_mesh.replay.log import LogBroken
from areal_mesh.runtime.errors import MeshError, StartupError

SIZE = 1000
DEADLINE = 30.0


def open_buffer(directory: Path, limit: int = 100 * SIZE, segment_bytes: int = 3 * SIZE) -> ReplayBuffer:
    return ReplayBuffer(directory, limit, segment_bytes)


def payload(name: str) -> bytes:
    return name.encode().ljust(SIZE, b".")


async def store(buffer: ReplayBuffer, *names: str, oldest: int = 0) -> list[bool]:
    return [await buffer.append(GroupSummary(name, 0, oldest, SIZE), payload(name)) for name in names]


async def draw(buffer: ReplayBuffer, step: int, groups: int, version: int = 0, staleness: int = 1) -> list[str] | None:
    drawn = await buffer.draw(DrawRequest(step, groups, version, staleness), 0)
    return None if drawn.group_ids is None else list(drawn.group_ids)


def segment_names(directory: Path) -> list[str]:
    return sorted(path.stem.lstrip("0") for path in (directory / "groups").glob("*.segment"))


async def test_groups_come_back_whole_and_in_order_after_a_restart(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, "c", "a", "b", "d")
    assert await draw(buffer, 1, 3) == ["c", "a", "b"]
    buffer.close()
    again = open_buffer(tmp_path)
    assert await draw(again, 1, 3, version=7, staleness=0) == ["c", "a", "b"]
    assert [await again.read(name) for name in ("c", "a", "b")] == [payload("c"), payload("a"), payload("b")]
    assert again.statistics(0).waiting_groups == 1
    again.close()


async def test_an_id_is_stored_once_for_ever(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    assert await store(buffer, "a", "a", "b", "c", "d", "e", "f") == [False, True] + [False] * 5
    assert await draw(buffer, 1, 6) is not None
    await buffer.release(1)
    assert segment_names(tmp_path)[0] != "1"
    assert await store(buffer, "a") == [True]
    buffer.close()
    again = open_buffer(tmp_path)
    assert await store(again, "a", "f", "g") == [True, True, False]
    assert again.find(["a", "unknown"]) == [RetiredGroup("a", 0, -1)]
    with pytest.raises(StepReleased):
        await draw(again, 1, 6)
    again.close()


async def test_copies_that_arrive_at_once_are_stored_once_and_all_durable(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    answers = await asyncio.gather(*(store(buffer, "a") for _ in range(5)))
    assert sorted(answer for [answer] in answers) == [False, True, True, True, True]
    assert buffer.statistics(0).dropped == {"duplicate": 4, "stale": 0, "set_aside": 0}
    buffer.close()
    again = open_buffer(tmp_path)
    assert again.statistics(0).waiting_groups == 1
    again.close()


async def test_a_group_whose_caller_gave_up_is_stored_all_the_same(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        appending = tasks.create_task(store(buffer, "a"))
        drawing = tasks.create_task(buffer.draw(DrawRequest(1, 1, 0, 0), DEADLINE))
        await asyncio.sleep(0)
        appending.cancel()
    assert appending.cancelled()
    assert drawing.result().group_ids == ("a",)
    assert await store(buffer, "a") == [True]
    buffer.close()


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


async def test_a_batch_is_durable_before_anyone_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, "a", "b")
    reached, opened = threading.Event(), threading.Event()

    def held_sync(descriptor: int) -> None:
        reached.set()
        assert opened.wait(DEADLINE)

    monkeypatch.setattr(os, "fdatasync", held_sync)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        draws = [tasks.create_task(draw(buffer, 1, 2)) for _ in range(2)]
        assert await asyncio.to_thread(reached.wait, DEADLINE)
        statistics = buffer.statistics(0)
        assert (statistics.waiting_groups, statistics.consumed_groups) == (0, 2)
        assert not any(drawing.done() for drawing in draws)
        opened.set()
    assert [drawing.result() for drawing in draws] == [["a", "b"], ["a", "b"]]
    buffer.close()


async def test_a_draw_comes_back_when_the_service_drains(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)

    async def drain() -> None:
        buffer.drain()

    assert await woken(buffer, drain) == (None, ())
    buffer.close()


async def test_eviction_answers_the_same_when_asked_again_and_after_a_restart(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, "old", oldest=1)
    await store(buffer, "fresh", oldest=2)
    assert await buffer.evict(3, 1) == ("old",)
    assert await buffer.evict(3, 1) == ("old",)
    buffer.close()
    again = open_buffer(tmp_path)
    assert await again.evict(3, 1) == ("old",)
    assert await again.evict(4, 1) == ("fresh",)
    assert again.find(["old", "fresh"]) == [RetiredGroup("old", 1, 3), RetiredGroup("fresh", 2, 4)]
    assert again.statistics(4).dropped["stale"] == 2
    again.close()


async def test_released_segments_are_deleted_and_the_rest_still_reads(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, *(f"g{n}" for n in range(12)))
    for step in range(1, 6):
        assert await draw(buffer, step, 2) is not None
    assert segment_names(tmp_path) == ["1", "2", "3", "4", "5", "6"]
    await buffer.release(3)
    assert segment_names(tmp_path) == ["4", "5", "6"]
    buffer.close()
    again = open_buffer(tmp_path)
    assert await draw(again, 4, 2) == ["g6", "g7"]
    assert await again.read("g6") == payload("g6")
    assert again.statistics(0).consumed_groups == 4
    assert await draw(again, 6, 2) == ["g10", "g11"]
    again.close()


async def test_a_crash_between_history_and_deletion_is_finished_on_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, *(f"g{n}" for n in range(6)))
    assert await draw(buffer, 1, 6) is not None
    with monkeypatch.context() as patch:
        patch.setattr(buffer._log, "delete_through", lambda number: None)
        await buffer.release(1)
    buffer.close()
    assert "1" in segment_names(tmp_path)
    again = open_buffer(tmp_path)
    assert "1" not in segment_names(tmp_path)
    assert await store(again, *(f"g{n}" for n in range(6))) == [True] * 6
    again.close()


async def test_a_second_process_cannot_open_the_directory(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    with pytest.raises(StartupError, match=r"another process \(\d+\) holds"):
        open_buffer(tmp_path)
    buffer.close()
    open_buffer(tmp_path).close()


async def test_a_damaged_log_is_named_when_it_is_opened(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, *(f"g{n}" for n in range(6)))
    buffer.close()
    first = tmp_path / "groups" / "0000000001.segment"
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(StartupError, match="damaged"):
        open_buffer(tmp_path)


async def test_a_failing_disk_ends_the_watch_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = open_buffer(tmp_path)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(LogBroken, match="the disk is gone"):
        await store(buffer, "a")
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(LogBroken, match="the disk is gone"):
            await buffer.watch()


async def facts(buffer: ReplayBuffer, stored: int) -> list[object]:
    statistics = buffer.statistics(0)
    counts = [statistics.waiting_groups, statistics.waiting_bytes, statistics.consumed_groups, statistics.staleness]
    return [counts, await buffer.evict(0, 10**6), buffer.find([f"g{n}" for n in range(stored)])]


async def check_restarts(directory: Path, actions: list[tuple[str, int]]) -> None:
    """Runs actions, opens the log again after each restart, and compares with what was answered before."""
    buffer = open_buffer(directory)
    stored, released = 0, 0
    answered: dict[int, list[str]] = {}
    for action, number in actions:
        step = len(answered) + 1
        if action == "store":
            names = [f"g{stored + n}" for n in range(number + 1)]
            assert not any(await store(buffer, *names, oldest=max(0, step - 1 - number)))
            stored += len(names)
        elif action == "draw":
            batch = await draw(buffer, step, number + 1, version=step - 1)
            if batch is not None:
                answered[step] = batch
        elif action == "release":
            released = max(released, len(answered) - number)
            await buffer.release(released)
        else:
            before = await facts(buffer, stored)
            buffer.close()
            buffer = open_buffer(directory)
            assert await facts(buffer, stored) == before
        for drawn_step, batch in answered.items():
            if drawn_step > released:
                assert await draw(buffer, drawn_step, 1, version=99) == batch
                assert [await buffer.read(name) for name in batch] == [payload(name) for name in batch]
    buffer.close()


@given(
    actions=st.lists(
        st.tuples(st.sampled_from(["store", "store", "draw", "draw", "release", "restart"]), st.integers(0, 3)),
        max_size=25,
    )
)
@settings(max_examples=25, deadline=None)
def test_any_history_survives_restarts(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int]]
) -> None:
    asyncio.run(check_restarts(tmp_path_factory.mktemp("replay"), actions))

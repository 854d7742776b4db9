"""The buffer on a real disk: each group once, restarts, and that the log alone gives the same state again."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.replay import log as replay_log
from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import StepReleased
from areal_mesh.replay.events import RetiredGroup
from areal_mesh.replay.log import LogBroken
from areal_mesh.runtime.errors import StartupError
from tests.unit.replay_buffers import DEADLINE, SIZE, draw, open_buffer, payload, segment_names, store


async def test_groups_come_back_whole_and_in_order_after_a_restart(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    await store(buffer, "c", "a", "b", "d")
    assert await draw(buffer, 1, 3) == ["c", "a", "b"]
    buffer.close()
    again = open_buffer(tmp_path)
    assert await draw(again, 1, 3, version=7, staleness=0) == ["c", "a", "b"]
    assert [group async for group in again.read(["c", "a", "b"])] == [payload("c"), payload("a"), payload("b")]
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
    assert [group async for group in again.read(["g6"])] == [payload("g6")]
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
                assert [group async for group in buffer.read(batch)] == [payload(name) for name in batch]
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


async def test_what_outlives_a_segment_is_on_the_disk_before_it_is_deleted_with_durability_write_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fdatasync, Path.rename

    def noted_sync(descriptor: int) -> None:
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        done.append(f"taken {path}")
        return rename(path, target)

    monkeypatch.setattr(replay_log, "_SETTLE_SECONDS", 3600.0)
    buffer = ReplayBuffer(tmp_path, 100 * SIZE, 3 * SIZE, "write")
    await store(buffer, *"abcdef")
    assert await draw(buffer, 1, 6) == list("abcdef")
    await store(buffer, "g")
    monkeypatch.setattr(os, "fdatasync", noted_sync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    await buffer.release(1)
    first = done.index(f"taken {tmp_path}/groups/0000000001.segment")
    assert any(path.startswith(f"{tmp_path}/history/") for path in done[:first])
    buffer.close()

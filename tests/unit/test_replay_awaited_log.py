"""A log on an event loop: a turn of the loop is one commit, and an append to a log that ended fails."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from areal_mesh.replay.awaited_log import AwaitedLog
from areal_mesh.replay.events import Released, decode
from areal_mesh.replay.log import Append, DurableLog, LogBroken
from areal_mesh.replay.records import Record

DEADLINE = 30.0


def open_log(directory: Path, found: list[Record]) -> DurableLog:
    return DurableLog(directory, 1 << 16, 1, found.append)


async def test_what_is_appended_in_one_turn_is_one_commit_in_its_order(tmp_path: Path) -> None:
    log = open_log(tmp_path, [])
    awaited = AwaitedLog(log)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(awaited.append(Released(step)) for step in range(20)))
        assert log.commits == 1
        await awaited.append(Released(20))
        assert log.commits == 2
    log.close()
    found: list[Record] = []
    open_log(tmp_path, found).close()
    assert [decode(record.kind, record.payload) for record in found] == [Released(step) for step in range(21)]


async def test_an_append_to_a_log_that_is_closed_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path, [])
    log.close()
    with pytest.raises(LogBroken, match="is closed"):
        AwaitedLog(log).append(Released(1))


async def test_an_append_fails_whose_log_is_closed_before_the_turn_ends(tmp_path: Path) -> None:
    log = open_log(tmp_path, [])
    waits = AwaitedLog(log).append(Released(1))
    log.close()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(LogBroken, match="is closed"):
            await waits


async def test_the_writing_thread_is_woken_once_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path, [])
    turns: list[int] = []
    append_all = log.append_all

    def counted(items: Sequence[Append]) -> None:
        turns.append(len(items))
        append_all(items)

    monkeypatch.setattr(log, "append_all", counted)
    awaited = AwaitedLog(log)
    async with asyncio.timeout(DEADLINE):
        for count in (3, 1):
            await asyncio.gather(*(awaited.append(Released(step)) for step in range(count)))
    assert turns == [3, 1]
    log.close()

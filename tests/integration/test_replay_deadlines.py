"""A whole mesh one of whose groups takes long: the learner waits for it, or trains without it and counts its length."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.replay.service import ReplayService
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import replay_pb2
from tests.integration.live_mesh import BATCH_GROUPS, SECONDS, LiveMesh, live_mesh, live_settings

SLOW = "g00000000"


@pytest.fixture
def slow_group(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The run's first group is stored once this is set."""
    released = asyncio.Event()
    append = ReplayService.AppendGroup

    async def late(self: Any, request: replay_pb2.AppendGroupRequest, context: Any) -> Any:
        if request.group.group_id == SLOW:
            await released.wait()
        return await append(self, request, context)

    monkeypatch.setattr(ReplayService, "AppendGroup", late)
    return released


def patient(folder: Path, seconds: float) -> RunSettings:
    settings = live_settings(folder)
    return settings.model_copy(update={"replay": settings.replay.model_copy(update={"patience_seconds": seconds})})


async def statistics(mesh: LiveMesh) -> replay_pb2.GetReplayStatisticsResponse:
    method = "/areal_mesh.v1.ReplayService/GetReplayStatistics"
    asked = replay_pb2.GetReplayStatisticsRequest().SerializeToString()
    return replay_pb2.GetReplayStatisticsResponse.FromString(await mesh.call("replay", method, asked, "client"))


def ended(settings: RunSettings) -> tuple[str, int, int | None]:
    """State, response tokens and step of the slow group."""
    with sqlite3.connect(settings.run_directory / "ledger.db") as ledger:
        row = ledger.execute("SELECT state, tokens, step FROM groups WHERE group_id = ?", (SLOW,)).fetchone()
    return row[0], row[1], row[2]


async def test_a_group_that_no_later_step_could_train_is_waited_for(tmp_path: Path, slow_group: asyncio.Event) -> None:
    settings = patient(tmp_path, 600.0)
    async with live_mesh(settings) as mesh:
        async with asyncio.timeout(SECONDS):
            while (held := await statistics(mesh)).held_seconds < 1.5:
                pass
        assert held.waiting_groups >= BATCH_GROUPS, "others are there"
        assert (await mesh.status()).step == 1
        slow_group.set()
        status = await mesh.until_step(4)
        assert status.groups.stale == 0
    state, tokens, step = ended(settings)
    assert (state, step) == ("trained", 2)
    assert tokens > 0


async def test_without_patience_the_run_goes_on_and_the_late_group_is_counted_with_its_length(
    tmp_path: Path, slow_group: asyncio.Event
) -> None:
    settings = patient(tmp_path, 0.2)
    async with live_mesh(settings) as mesh:
        step = (await mesh.until_step(3)).step
        assert (await statistics(mesh)).held_seconds == pytest.approx(0.2, abs=0.2)
        slow_group.set()
        async with asyncio.timeout(SECONDS):
            while ended(settings)[0] != "stale" or not ended(settings)[1]:
                step = (await mesh.until_step(step + 1)).step

"""What cannot be trained on or committed is set aside by name, others are drawn in its place, and the run goes on."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.replay import service as replay_service
from areal_mesh.runtime.groups import encode_int32, payload_crc32c
from areal_mesh.v1 import replay_pb2
from tests.integration.live_mesh import LiveMesh, live_mesh, live_settings


def trusting(monkeypatch: pytest.MonkeyPatch, change: Callable[[replay_pb2.AppendGroupRequest], None]) -> None:
    """A replay buffer of before, which checks nothing, and a generator that spoils its first groups."""
    append = replay_service.ReplayService.AppendGroup
    spoilt: list[str] = []

    async def spoiling(self: Any, request: replay_pb2.AppendGroupRequest, context: Any) -> Any:
        if len(spoilt) < 2:
            change(request)
            request.group.crc32c = payload_crc32c(request.group)
            spoilt.append(request.group.group_id)
        return await append(self, request, context)

    monkeypatch.setattr(replay_service.ReplayService, "AppendGroup", spoiling)
    monkeypatch.setattr(replay_service, "check_leased", lambda *_: None)
    monkeypatch.setattr(replay_service, "check_limits", lambda *_: None)


def foreign_tokens(request: replay_pb2.AppendGroupRequest) -> None:
    tokens = len(request.group.response_token_ids) // 4
    request.group.response_token_ids = encode_int32([100_000] * tokens)


def foreign_id(request: replay_pb2.AppendGroupRequest) -> None:
    request.group.group_id = f"foreign-{request.group.group_id}"


async def statistics(mesh: LiveMesh) -> replay_pb2.GetReplayStatisticsResponse:
    answer = await mesh.call(
        "replay",
        "/areal_mesh.v1.ReplayService/GetReplayStatistics",
        replay_pb2.GetReplayStatisticsRequest().SerializeToString(),
        "client",
    )
    return replay_pb2.GetReplayStatisticsResponse.FromString(answer)


@pytest.mark.parametrize(("change", "reason"), [(foreign_tokens, "vocabulary"), (foreign_id, "")])
async def test_groups_that_cannot_be_trained_or_committed_end_once_and_the_run_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[replay_pb2.AppendGroupRequest], None],
    reason: str,
) -> None:
    settings = live_settings(tmp_path)
    trusting(monkeypatch, change)
    async with live_mesh(settings) as mesh:
        step = (await mesh.until_step(4)).step
        assert (await statistics(mesh)).dropped["set_aside"] == 2
    async with live_mesh(settings) as mesh:
        await mesh.until_step(step + 2)
        assert (await statistics(mesh)).dropped["set_aside"] == 2
    with sqlite3.connect(settings.run_directory / "ledger.db") as ledger:
        reasons = [row[0] for row in ledger.execute("SELECT reason FROM groups WHERE state = 'filtered'")]
    if reason:
        assert len(reasons) == 2
        assert all(found.startswith("set aside: ") and reason in found for found in reasons), reasons

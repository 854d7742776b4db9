"""When checkpoints are written and what they let go: a disk without room lets nothing go, and holds no training up."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from areal_mesh.learner import checkpoint_schedule
from areal_mesh.learner.checkpoint_schedule import Checkpoints
from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.calling import Members
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.settings import load_settings


class Leader:
    """Writes checkpoints to a disk that has room or not."""

    def __init__(self) -> None:
        self.room = True
        self.policy_version = 0
        self.saved: list[int] = []
        self.exported: list[str] = []
        self.checkpoint_missing = False
        self.export_bytes = 0

    @property
    def checkpoint_fault(self) -> str:
        return "no room" if self.checkpoint_missing and not self.room else ""

    def save_checkpoint(self, step: int, stage: str) -> None:
        self.wait_for_checkpoint()
        self.saved.append(step)

    def wait_for_checkpoint(self) -> None:
        self.checkpoint_missing = bool(self.saved) and not self.room

    def export(self, folder: Path) -> None:
        self.exported.append(folder.name)


class Torch:
    """Runs at once what is to run on the torch thread."""

    async def run(self, work: Callable[[], Any]) -> Any:
        return work()


class Replay:
    """Takes releases."""

    def __init__(self) -> None:
        self.releases = 0

    async def call(self, role: str, send: Any, patience: Any) -> None:
        assert role == "replay"
        self.releases += 1


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Checkpoints, Leader, Replay]:
    monkeypatch.setattr(checkpoint_schedule, "_ROOM_SECONDS", 0.0)
    settings = load_settings("trial-short", [f"directory={tmp_path}", "learner.checkpoint_every=2"])
    settings.run_directory.mkdir(parents=True)
    leader, replay = Leader(), Replay()
    checkpoints = Checkpoints(
        settings,
        Identity("learner", "learner"),
        cast(RankLeader, leader),
        cast(Members, replay),
        cast(TorchThread, Torch()),
    )
    return checkpoints, leader, replay


async def test_steps_are_released_once_the_checkpoint_that_covers_them_is_durable(
    parts: tuple[Checkpoints, Leader, Replay],
) -> None:
    checkpoints, leader, replay = parts
    for step in range(1, 7):
        await checkpoints.after_step(step, "8k")
    assert (leader.saved, replay.releases) == ([2, 4, 6], 2)


async def test_a_checkpoint_that_found_no_room_releases_nothing_and_is_made_up_for_at_the_next_step_with_room(
    parts: tuple[Checkpoints, Leader, Replay],
) -> None:
    checkpoints, leader, replay = parts
    await checkpoints.after_step(2, "8k")
    leader.room = False
    await checkpoints.after_step(4, "8k")
    assert (leader.saved, replay.releases, checkpoints.fault) == ([2, 4], 0, "no room")
    await checkpoints.after_step(5, "8k")
    assert leader.saved == [2, 4], "no try without room"
    leader.room = True
    assert checkpoints.fault == ""
    await checkpoints.after_step(7, "8k")
    assert leader.saved == [2, 4, 7]


async def until(reached: Callable[[], bool]) -> None:
    """Lets others run until the condition holds."""
    for _ in range(100_000):
        if reached():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to hold")


async def test_the_last_checkpoint_and_the_export_wait_for_room(parts: tuple[Checkpoints, Leader, Replay]) -> None:
    checkpoints, leader, _ = parts
    leader.policy_version = 3
    await checkpoints.after_step(2, "8k")
    leader.room = False
    leader.export_bytes = 1 << 60
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(checkpoints.finish(True, asyncio.Event()))
        await until(lambda: checkpoints.fault == "no room")
        leader.room = True
        await until(lambda: "no room for an export" in checkpoints.fault)
        leader.export_bytes = 0
        await finishing
    assert leader.exported == ["export-00000003"]
    assert checkpoints.fault == ""


async def test_a_drain_in_the_middle_of_a_run_does_not_wait_for_room(
    parts: tuple[Checkpoints, Leader, Replay],
) -> None:
    checkpoints, leader, _ = parts
    leader.policy_version = 3
    leader.room = False
    draining = asyncio.Event()
    draining.set()
    async with asyncio.timeout(30):
        await checkpoints.finish(False, draining)
    assert leader.saved == [3]

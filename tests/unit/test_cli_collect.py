"""The files of runs that are brought to another folder: which, when again, and to whom they belong."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from areal_mesh.cli.collect import collect
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.run_watch import looks
from areal_mesh.cli.targets import Target
from areal_mesh.client import ControllerUnreachable, RunState


def make_run(folder: Path, *, finished: bool = False) -> Path:
    for name in ("plots", "logs", "replay", "checkpoints/step-1"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "ledger.db").write_bytes(b"ledger")
    (folder / "replay" / "groups.log").write_bytes(b"groups")
    (folder / "checkpoints" / "step-1" / "weights").write_bytes(b"weights")
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    (folder / "plots" / "curves.png").write_bytes(b"\x89PNG")
    (folder / "plots" / ".curves.png.new").write_bytes(b"half")
    (folder / "logs" / "controller.jsonl").write_text("{}\n")
    if finished:
        (folder / "summary.json").write_text(json.dumps({"finished": True, "steps": 1}))
    return folder


def brought(into: Path) -> list[str]:
    return sorted(str(path.relative_to(into)) for path in into.rglob("*") if path.is_file())


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "one").parent


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "brought"
    folder.mkdir()
    return folder


def test_what_a_person_reads_is_brought_and_no_state_of_a_service(
    runs: Path, into: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(str(runs), str(into))
    assert brought(into) == ["one/logs/controller.jsonl", "one/metrics.jsonl", "one/plots/curves.png"]
    assert capsys.readouterr().out == f"{into}: 3 files of one\n"


def test_only_what_changed_is_brought_again(runs: Path, into: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect(str(runs), str(into))
    (runs / "one" / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    capsys.readouterr()
    collect(str(runs), str(into))
    assert (into / "one" / "metrics.jsonl").read_text().count("\n") == 2
    assert capsys.readouterr().out == f"{into}: 1 files of one\n"


def test_one_run_by_its_directory(runs: Path, into: Path) -> None:
    make_run(runs / "two")
    collect(str(runs / "two"), str(into))
    assert {path.name for path in into.iterdir()} == {"two"}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away: needs root")
def test_what_root_brings_belongs_to_the_folder_s_owner(runs: Path, into: Path) -> None:
    os.chown(into, 12345, 12346)
    collect(str(runs), str(into))
    for path in into.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346), path


@pytest.mark.parametrize(
    ("directory", "to", "says"),
    [
        ("nowhere", "brought", "no such directory"),
        ("runs", "nowhere", "make it first"),
        ("runs", "runs/one", "name another folder"),
        ("brought", "runs", "holds no run"),
    ],
)
def test_what_cannot_be_brought_is_said(
    runs: Path, into: Path, tmp_path: Path, directory: str, to: str, says: str
) -> None:
    with pytest.raises(CommandFailed, match=says):
        collect(str(tmp_path / directory), str(tmp_path / to))


@dataclass
class SimulatedMesh:
    """Answers with the name of a run, or as if nothing listened, in the order of `answers`; then nothing listens.

    A name with `!` at its end is of a run that is being stopped."""

    answers: list[str]
    asked: int = field(default=0)
    address: str = "127.0.0.1:1"

    async def status(self) -> Any:
        self.asked += 1
        name = self.answers.pop(0) if self.answers else ""
        if not name:
            raise ControllerUnreachable("127.0.0.1:1", "GetStatus", "nothing answers")
        state = RunState.STOPPING if name.endswith("!") else RunState.RUNNING
        return type("Status", (), {"run_name": name.rstrip("!"), "finished": False, "state": state})


def target_of(mesh: SimulatedMesh) -> Target:
    @asynccontextmanager
    async def connected() -> AsyncIterator[SimulatedMesh]:
        yield mesh

    return cast(Target, type("SimulatedTarget", (), {"mesh": staticmethod(connected)}))


async def count(mesh: SimulatedMesh, directory: Path, patience: float) -> int:
    number = 0
    async for _ in looks(target_of(mesh), directory, patience_seconds=patience, look_seconds=0.0):
        number += 1
    return number


LONG = 1e9


async def test_a_run_is_over_when_it_is_finished_and_its_controller_gone(runs: Path) -> None:
    make_run(runs / "one", finished=True)
    mesh = SimulatedMesh(["one", "one", "one"])
    assert await count(mesh, runs, LONG) == 3, "its controller may still have something to write"


async def test_a_controller_that_is_away_for_a_moment_ends_nothing(runs: Path) -> None:
    make_run(runs / "other", finished=True)
    mesh = SimulatedMesh(["one", "", "one", "", "", "one"])

    class Finishing(SimulatedMesh):
        async def status(self) -> Any:
            if self.asked == 6:
                make_run(runs / "one", finished=True)
            return await super().status()

    assert await count(Finishing(mesh.answers), runs, LONG) == 6


async def test_a_run_that_was_stopped_is_over_once_its_controller_has_gone(runs: Path) -> None:
    assert await count(SimulatedMesh(["one", "one!"]), runs, LONG) == 2


async def test_a_run_whose_controller_never_comes_back_is_over_after_the_patience(runs: Path) -> None:
    assert await count(SimulatedMesh(["one"]), runs, 0.0) == 1


async def test_the_controller_of_a_finished_run_is_watched_until_it_leaves(runs: Path) -> None:
    class Finished(SimulatedMesh):
        async def status(self) -> Any:
            self.asked += 1
            return type("Status", (), {"run_name": "one", "finished": True, "state": RunState.FINISHED})

        async def watch(self) -> AsyncIterator[Any]:
            yield await self.status()

    asked_twice, connections = asyncio.Event(), []

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        connections.append(writer)
        if len(connections) == 2:
            asked_twice.set()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    mesh = Finished([], address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(count(mesh, runs, LONG))
        await asked_twice.wait()
        assert not looking.done(), "its port is open"
        # What it writes last, its streams having ended.
        make_run(runs / "one", finished=True)
        server.close()
    assert looking.result() == 1


async def test_a_finished_run_whose_controller_was_never_seen_is_over(runs: Path) -> None:
    make_run(runs / "one", finished=True)
    assert await count(SimulatedMesh([]), runs, LONG) == 0


def test_follow_brings_what_is_made_meanwhile(runs: Path, into: Path) -> None:
    class Going(SimulatedMesh):
        async def status(self) -> Any:
            if self.asked == 1:
                assert brought(into), "nothing was brought while the run went on"
                make_run(runs / "one", finished=True)
            return await super().status()

    collect(str(runs), str(into), target_of(Going(["one", "one"])))
    assert "one/summary.json" in brought(into)

"""The launcher beside the status of a run: its own run alone, every step once, signals passed on."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from areal_mesh.cli.launcher import Launcher, launch
from areal_mesh.cli.run_directory import enter, held
from areal_mesh.runtime.errors import failed_precondition
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import load_settings
from areal_mesh.v1 import status_pb2, status_pb2_grpc
from tests.integration.supervised import until
from tests.integration.tls_mesh import certificate_folder, proof


def test_a_closed_terminal_drains_and_is_no_second_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = Launcher(load_settings("trial"), tmp_path, "127.0.0.1:1", Console(file=StringIO()))
    asked: list[str] = []
    for what in ("drain", "kill"):
        monkeypatch.setattr(launcher._supervisor, what, lambda what=what: asked.append(what))
    launcher._interrupted(signal.SIGHUP)
    launcher._interrupted(signal.SIGHUP)
    assert asked == ["drain"]
    launcher._interrupted(signal.SIGINT)
    assert asked == ["drain", "kill"]


class TwoRuns(status_pb2_grpc.StatusServiceServicer):
    """A controller of another run is at the address, and then the run's own."""

    def __init__(self) -> None:
        self.own_id = ""

    async def GetStatus(self, request: Any, context: Any) -> status_pb2.GetStatusResponse:
        raise failed_precondition("a launcher watches")

    async def WatchStatus(self, request: Any, context: Any) -> AsyncIterator[status_pb2.WatchStatusResponse]:
        for run_id, name in (("another", "first"), ("", "second"), (self.own_id, "own")):
            status = status_pb2.RunStatus(run_id=run_id, run_name=name, state=status_pb2.RUN_STATE_RUNNING, stages=1)
            yield status_pb2.WatchStatusResponse(status=status)


@pytest.mark.parametrize("over_tls", [False, True])
async def test_a_launcher_shows_its_own_run_alone(tmp_path: Path, over_tls: bool) -> None:
    settings, credentials = load_settings("trial"), None
    if over_tls:
        certificate_folder(tmp_path / "certs")
        credentials = proof(tmp_path / "certs", "controller")
        settings = load_settings("trial", [f"security.certificates={tmp_path / 'certs'}"])
    server, service, shown = MeshServer("127.0.0.1:0", credentials), TwoRuns(), StringIO()
    server.add(status_pb2_grpc.add_StatusServiceServicer_to_server, service, "areal_mesh.v1.StatusService")
    address = f"127.0.0.1:{await server.start()}"
    launcher = Launcher(settings, tmp_path, address, Console(file=shown))
    service.own_id = launcher.run_id
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(launcher.watch())
        await until(lambda: "run own running" in shown.getvalue())
        watching.cancel()
    await server.stop(0)
    assert "run first" not in shown.getvalue()
    assert "run second" not in shown.getvalue()


class FastRun(status_pb2_grpc.StatusServiceServicer):
    """Takes several steps between two statuses, the last of them after the last status; writes each down once."""

    def __init__(self, metrics: Path) -> None:
        self.run_id = ""
        self._metrics = metrics

    def _take(self, *steps: int) -> None:
        with self._metrics.open("a") as file:
            for step in steps:
                file.write(json.dumps({"step": step, "stage": 0, "stage_name": "8", "reward": 1.0}) + "\n")

    async def GetStatus(self, request: Any, context: Any) -> status_pb2.GetStatusResponse:
        raise failed_precondition("a launcher watches")

    async def WatchStatus(self, request: Any, context: Any) -> AsyncIterator[status_pb2.WatchStatusResponse]:
        for steps in ((4,), (5, 6, 7), (8, 9)):
            self._take(*steps)
            status = status_pb2.RunStatus(run_id=self.run_id, step=steps[-1], stages=1, planned_steps=9)
            yield status_pb2.WatchStatusResponse(status=status)
        # The controller is killed here; what it had committed is written down by its next life.
        self._take(10)
        raise failed_precondition("gone")


async def test_every_step_has_its_line_once_however_fast_it_was(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    server, service, shown = MeshServer("127.0.0.1:0"), FastRun(metrics), StringIO()
    service._take(1, 2, 3)  # in an earlier sitting
    server.add(status_pb2_grpc.add_StatusServiceServicer_to_server, service, "areal_mesh.v1.StatusService")
    address = f"127.0.0.1:{await server.start()}"
    settings = load_settings("trial", [f"directory={tmp_path}"])
    launcher = Launcher(settings, tmp_path, address, Console(file=shown, width=200))
    service.run_id = launcher.run_id
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(launcher.watch())
        await until(lambda: "step 9" in shown.getvalue())
        watching.cancel()
    await server.stop(0)
    launcher.show_new_steps()
    lines = re.findall(r"^step (\d+)/\d+  stage 8 ", shown.getvalue(), re.MULTILINE)
    assert lines == ["4", "5", "6", "7", "8", "9", "10"]


def test_a_finished_run_is_not_run_again_but_its_table_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [f"directory={tmp_path}"]
    settings = load_settings("trial", overrides)
    with held(settings) as folder:
        enter(folder, settings, fresh=False)
        (folder / "summary.json").write_text('{"finished": true, "run": "trial", "steps": 110, "stages": []}')
    assert launch("trial", overrides, fresh=False) == 0
    output = capsys.readouterr().out
    assert "110" in output
    assert f"{folder}: this run is finished; --fresh runs it anew" in output

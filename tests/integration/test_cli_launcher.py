"""The supervisor over real processes: simulated members, small commands that end as a service might."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from areal_mesh.cli.launcher import Launcher, launch
from areal_mesh.cli.run_directory import enter, held
from areal_mesh.runtime.errors import failed_precondition
from areal_mesh.runtime.orphans import OrphanGuard
from areal_mesh.runtime.restarts import RestartPolicy
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import load_settings
from areal_mesh.runtime.supervision import (
    ProcessCannotStart,
    ProcessKeepsFailing,
    ProcessPhase,
    ServiceProcess,
    Supervisor,
)
from areal_mesh.v1 import status_pb2, status_pb2_grpc

PATIENCE_SECONDS = 20.0
SERVE = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
)
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)
WITH_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'],"
    " process_group=0); print(child.pid, flush=True); import signal; signal.pause()"
)


def simulated_member(
    folder: Path, name: str, script: str, drain_phase: int = 0, drain_seconds: float = 10
) -> ServiceProcess:
    """A member that runs a few lines of Python in place of a service."""
    return ServiceProcess(name, (sys.executable, "-c", script), folder / f"{name}.log", drain_phase, drain_seconds)


async def until(holds: Callable[[], bool]) -> None:
    """Waits until `holds()`; fails after the patience."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 other processes and their logs raise no event here
            await asyncio.sleep(0.01)


def python(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], start_new_session=True)


def says(member: ServiceProcess, text: str) -> Callable[[], bool]:
    return lambda: member.log.exists() and text in member.log.read_text()


async def test_a_member_killed_outright_is_started_again_under_its_name_at_once(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    worker = simulated_member(tmp_path, "worker-0", SERVE)
    said: list[str] = []
    supervisor = Supervisor([controller, worker], controller_id="controller", say=said.append)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(worker, "up"))
        first = supervisor.states["worker-0"].pid
        killed_at = time.monotonic()
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.states["worker-0"].pid not in (0, first))
        assert time.monotonic() - killed_at < 1.0
        await until(lambda: worker.log.read_text().count("up") == 2)
        supervisor.drain()
        await running
    assert said == ["worker-0 ended (killed by SIGKILL); started again, restart 1; its last line: up"]
    assert supervisor.states["worker-0"].phase is ProcessPhase.DONE


async def test_what_a_dead_member_started_dies_with_it(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    generator = simulated_member(tmp_path, "generator-0", WITH_CHILD)
    supervisor = Supervisor([controller, generator], controller_id="controller")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(lambda: generator.log.exists() and generator.log.read_text().endswith("\n"))
        child = int(generator.log.read_text())
        assert psutil.pid_exists(child)
        os.kill(supervisor.states["generator-0"].pid, signal.SIGKILL)
        await until(lambda: not alive(child))
        supervisor.drain()
        await running


async def test_a_member_that_cannot_start_ends_all_and_its_last_line_is_repeated(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    faulty = simulated_member(
        tmp_path, "learner-0", "import sys; print('learner-0: cannot start: no model'); sys.exit(78)"
    )
    others = set(psutil.Process().children())  # what other tests of this process left, such as a resource tracker
    supervisor = Supervisor([controller, faulty], controller_id="controller")
    with pytest.raises(ProcessCannotStart, match=r"^learner-0: cannot start: no model$"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert supervisor.states["learner-0"].restarts == 0
    left = set(psutil.Process().children()) - others
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]


async def test_a_member_that_keeps_failing_is_given_up_with_its_last_lines(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    faulty = simulated_member(tmp_path, "replay-0", "raise SystemExit('the disk is full')")
    policy = RestartPolicy(most_restarts=2, first_backoff_seconds=0.01)
    supervisor = Supervisor([controller, faulty], controller_id="controller", policy=policy)
    with pytest.raises(ProcessKeepsFailing, match="the disk is full") as failure:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert failure.value.exit_code == 1
    assert supervisor.states["replay-0"].restarts == 2


async def test_a_member_that_fails_slowly_is_given_up_after_three_lives_with_the_same_last_line(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    script = "import os; raise SystemExit(f'process {os.getpid()}: weights hold NaN')"
    faulty = simulated_member(tmp_path, "generator-0", script)
    said: list[str] = []
    policy = RestartPolicy(first_backoff_seconds=0.01)
    supervisor = Supervisor([controller, faulty], controller_id="controller", policy=policy, say=said.append)
    with pytest.raises(ProcessKeepsFailing, match=r"weights hold NaN$"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert len(said) == supervisor.states["generator-0"].restarts == 2
    assert all(line.endswith(": weights hold NaN") for line in said)


async def test_restarts_while_the_run_gets_on_are_not_counted(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    faulty = simulated_member(tmp_path, "generator-0", "raise SystemExit('out of memory')")
    lives: list[str] = []

    def say(line: str) -> None:
        lives.append(line)
        if len(lives) == 12:
            supervisor.drain()

    supervisor = Supervisor(
        [controller, faulty], controller_id="controller", progress=lambda: len(lives), say=say, policy=RestartPolicy()
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        await supervisor.run()
    assert supervisor.states["generator-0"].restarts == 12


@pytest.mark.parametrize(("free", "full"), [(0, True), (1 << 30, False)])
async def test_a_member_that_a_full_disk_ended_is_told_of_though_its_log_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    silent = simulated_member(tmp_path, "replay-0", "raise SystemExit(1)")  # what it said found no room
    policy = RestartPolicy(most_restarts=1, first_backoff_seconds=0.01)
    supervisor = Supervisor([controller, silent], controller_id="controller", policy=policy)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    with pytest.raises(ProcessKeepsFailing) as failure:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert f"{silent.log} holds no word of it" in str(failure.value)
    assert (f"the disk that holds {tmp_path} is full; free some space" in str(failure.value)) is full


async def test_a_member_drained_by_hand_while_the_run_goes_on_comes_back(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    worker = simulated_member(tmp_path, "worker-0", SERVE)
    supervisor = Supervisor([controller, worker], controller_id="controller", linger_seconds=0.05)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(worker, "up"))
        os.kill(supervisor.states["worker-0"].pid, signal.SIGTERM)
        await until(lambda: worker.log.read_text().count("up") == 2)
        supervisor.drain()
        await running


async def test_the_run_ends_when_the_keeper_and_then_the_others_have_ended(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", "print('done')", drain_phase=1)
    worker = simulated_member(tmp_path, "worker-0", "print('done')")
    supervisor = Supervisor([controller, worker], controller_id="controller", run_goes_on=lambda: False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await supervisor.run()
    assert {state.phase for state in supervisor.states.values()} == {ProcessPhase.DONE}


async def test_members_that_live_when_the_keeper_has_ended_the_run_are_asked_to_drain_at_once(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    starting = simulated_member(tmp_path, "generator-0", SERVE)  # as one that has not joined the run yet
    stubborn = simulated_member(tmp_path, "learner-0", STUBBORN, drain_seconds=0.2)
    said: list[str] = []
    supervisor = Supervisor(
        [controller, starting, stubborn],
        controller_id="controller",
        run_goes_on=lambda: False,
        say=said.append,
        linger_seconds=10 * PATIENCE_SECONDS,
        grace_seconds=0.1,
    )
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        for member in (controller, starting, stubborn):
            await until(says(member, "up"))
        os.kill(supervisor.states["controller"].pid, signal.SIGTERM)
        await running
    assert supervisor.states["generator-0"].last_exit == "exit code 0"
    assert supervisor.states["learner-0"].last_exit == "killed by SIGKILL"
    assert said == ["learner-0 did not drain within 0 s; killed"]


async def test_a_drain_goes_phase_by_phase_and_kills_what_overruns(tmp_path: Path) -> None:
    order = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print(time.monotonic()), sys.exit(0)));"
    )
    controller = simulated_member(tmp_path, "controller", f"{order} print('up', flush=True); signal.pause()", 1)
    stubborn = simulated_member(tmp_path, "worker-0", STUBBORN, drain_seconds=0.2)
    supervisor = Supervisor([controller, stubborn], controller_id="controller", grace_seconds=0.1)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(controller, "up"))
        await until(says(stubborn, "up"))
        asked_at = time.monotonic()
        supervisor.drain()
        await running
    controller_ended = float(controller.log.read_text().split()[-1])
    assert controller_ended - asked_at >= 0.3
    assert supervisor.states["worker-0"].last_exit == "killed by SIGKILL"
    assert supervisor.states["controller"].last_exit == "exit code 0"


async def test_a_second_interrupt_kills_at_once(tmp_path: Path) -> None:
    stubborn = simulated_member(tmp_path, "controller", STUBBORN, drain_seconds=60)
    supervisor = Supervisor([stubborn], controller_id="controller")
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(stubborn, "up"))
        supervisor.drain()
        supervisor.kill()
        await running


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


LAUNCHER = """
import asyncio, sys
from pathlib import Path
from areal_mesh.runtime.settings import load_settings
from areal_mesh.runtime.supervision import ServiceProcess, Supervisor
member = ServiceProcess("generator-0", (sys.executable, "-c", sys.argv[1]), Path(sys.argv[2]), 0, 10.0)
asyncio.run(Supervisor([member], controller_id="generator-0").run())
"""


async def test_a_killed_launcher_leaves_no_orphan(tmp_path: Path) -> None:
    log = tmp_path / "generator-0.log"
    launcher = python(LAUNCHER, WITH_CHILD, str(log))
    try:
        await until(lambda: log.exists() and log.read_text().endswith("\n"))
        family = psutil.Process(launcher.pid).children(recursive=True)
        assert int(log.read_text()) in {process.pid for process in family}
    finally:
        launcher.kill()
        launcher.wait(PATIENCE_SECONDS)
    await until(lambda: not any(alive(process.pid) for process in family))


async def test_a_killed_watcher_is_replaced_and_still_ends_what_is_registered() -> None:
    orphan = python("import signal; signal.pause()")
    guard = OrphanGuard()
    guard.watch(orphan.pid)
    watcher = next(child for child in psutil.Process().children() if "orphans.py" in " ".join(child.cmdline()))
    watcher.kill()
    await until(lambda: not alive(watcher.pid))
    guard.release(0)
    guard.close()
    assert orphan.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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


async def test_a_launcher_shows_its_own_run_alone(tmp_path: Path) -> None:
    server, service, shown = MeshServer("127.0.0.1:0"), TwoRuns(), StringIO()
    server.add(status_pb2_grpc.add_StatusServiceServicer_to_server, service, "areal_mesh.v1.StatusService")
    address = f"127.0.0.1:{await server.start()}"
    launcher = Launcher(load_settings("trial"), tmp_path, address, Console(file=shown))
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

"""Every service of a real run restarted, one by one: drained, ended, started again, as an upgrade does it.

Nobody who asks the controller meanwhile is refused, and no group is lost or trained twice.
"""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from areal_mesh.cli.preparing import prepare
from areal_mesh.client import MeshClient, RunStatus
from tests.chaos.recovery import check_books, life_of
from tests.e2e.bare_environment import bare_environment, tools_without_compilers
from tests.e2e.whole_mesh import COMMAND, ROLES, assert_sums_hold, read_json

PRESET = "trial-short"
BATCH_GROUPS = 4
# The order of docs/operations.md.
ORDER = ("generator", "verifier", "replay", "learner", "controller")
SECONDS = 240.0
LOOK_SECONDS = 0.1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Nodes:
    """The services of a run, each started by hand."""

    def __init__(self, directory: Path, controller: str, environment: dict[str, str]) -> None:
        self.overrides = (
            f"directory={directory}",
            "name=rolling",
            f"controller.listen={controller}",
            "stages.0.max_steps=12",
            "stages.1.max_steps=100000",
            "replay.keep_released=true",
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._directory, self._controller, self._environment = directory, controller, environment

    def start(self, role: str) -> None:
        words = [str(COMMAND), "serve", role, "--config", PRESET, "--controller", self._controller]
        for override in self.overrides:
            words += ["--set", override]
        with (self._directory / f"{role}.out").open("ab") as out:
            self.processes[role] = subprocess.Popen(words, stdout=out, stderr=out, env=self._environment)

    async def ended(self, role: str) -> int:
        """The exit code of a service that was asked to end."""
        async with asyncio.timeout(SECONDS):
            return await asyncio.to_thread(self.processes[role].wait)

    def last_lines(self, role: str) -> str:
        return (self._directory / f"{role}.out").read_text(errors="replace")[-3000:]


@contextmanager
def started(directory: Path) -> Iterator[tuple[Nodes, str]]:
    """All services of a run, and the controller's address; whatever runs at the end is killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = bare_environment(tools_without_compilers(directory / "bin")) | {"OMP_WAIT_POLICY": "passive"}
    nodes = Nodes(directory, controller, environment)
    prepare(PRESET, nodes.overrides)
    try:
        for role in ROLES:
            nodes.start(role)
        yield nodes, controller
    finally:
        for process in nodes.processes.values():
            process.kill()
            process.wait()


class Watch:
    """Asks for the status ten times a second, from the first answer on, and is never refused."""

    def __init__(self, mesh: MeshClient) -> None:
        self._mesh = mesh
        self.answers = 0
        self.longest = 0.0
        self.last: RunStatus | None = None
        self._news = asyncio.Condition()

    async def look(self) -> None:
        clock = asyncio.get_running_loop()
        while True:
            asked = clock.time()
            self.last = await self._mesh.status()
            self.longest = max(self.longest, clock.time() - asked)
            self.answers += 1
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(LOOK_SECONDS)

    async def until(self, what: str, role: str, starts: int, steps: int) -> int:
        """Waits for the life of a role with this number to serve, and so many steps after that; the step then."""
        begun = -1
        try:
            async with asyncio.timeout(SECONDS), self._news:
                while True:
                    await self._news.wait()
                    assert self.last is not None
                    # The controller is none of its own members.
                    if begun < 0 and (role == "controller" or life_of(self.last, role) == (starts, True)):
                        begun = self.last.step
                    if 0 <= begun <= self.last.step - steps:
                        return self.last.step
        except TimeoutError as error:
            raise AssertionError(f"{what} never came: {self.last}") from error


def test_a_rolling_restart_loses_nothing_and_refuses_nobody(tmp_path: Path) -> None:
    with started(tmp_path) as (nodes, controller):
        asyncio.run(roll(nodes, controller))
    folder = tmp_path / "rolling"
    steps = check_books(folder, BATCH_GROUPS, max_staleness=1)
    summary = read_json(folder / "summary.json")
    assert summary["steps"] == steps
    assert summary["groups"]["failed"] == 0
    assert set(summary["checksums"]) == {"agreed"}
    assert_sums_hold(summary)


async def roll(nodes: Nodes, controller: str) -> None:
    async with MeshClient.connect(controller, timeout=60.0, waits=True) as mesh, asyncio.TaskGroup() as tasks:
        watch = Watch(mesh)
        looking = tasks.create_task(watch.look())
        for role in ("verifier", "replay", "generator", "learner"):
            await watch.until(f"the start of {role}", role, 1, 1)
        for role in ORDER:
            nodes.processes[role].send_signal(signal.SIGTERM)
            assert await nodes.ended(role) == 0, nodes.last_lines(role)
            nodes.start(role)
            step = await watch.until(f"steps after the restart of {role}", role, 2, 3)
            print(f"{role} restarted; step {step}")
        looking.cancel()
        await mesh.stop("all were restarted")
        print(f"{watch.answers} answers, the longest took {watch.longest:.1f} s")
        for role in ROLES:
            assert await nodes.ended(role) == 0, nodes.last_lines(role)

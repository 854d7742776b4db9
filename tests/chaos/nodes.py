"""The services of a real run, each started by hand as on a node of its own, and a client that watches them."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from areal_mesh.cli.preparing import prepare
from areal_mesh.client import MeshClient, RunStatus
from tests.chaos.recovery import life_of
from tests.e2e.bare_environment import bare_environment, tools_without_compilers
from tests.e2e.whole_mesh import ROLES

PRESET = "trial-short"
BATCH_GROUPS = 4
SECONDS = 240.0
LOOK_SECONDS = 0.1


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
        self._directory, self._controller, self.environment = directory, controller, environment

    def start(self, role: str, more: Mapping[str, str] = MappingProxyType({}), unknown: Sequence[str] = ()) -> None:
        """Starts a role's service, or starts it again.

        Args:
            more: variables on top of its environment.
            unknown: settings that it does not know yet.
        """
        words = [sys.executable, "-m", "areal_mesh.cli", "serve", role]
        words += ["--config", PRESET, "--controller", self._controller]
        for override in (given for given in self.overrides if not given.startswith(tuple(unknown))):
            words += ["--set", override]
        with (self._directory / f"{role}.out").open("ab") as out:
            self.processes[role] = subprocess.Popen(words, stdout=out, stderr=out, env=self.environment | dict(more))

    async def ended(self, role: str) -> int:
        """The exit code of a service that was asked to end."""
        async with asyncio.timeout(SECONDS):
            return await asyncio.to_thread(self.processes[role].wait)

    def last_lines(self, role: str) -> str:
        """What a role's services said last."""
        return (self._directory / f"{role}.out").read_text(errors="replace")[-3000:]


@contextmanager
def started(directory: Path, without: Sequence[str] = ()) -> Iterator[tuple[Nodes, str]]:
    """The services of a run but those left out, and the controller's address; whatever runs at the end is killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = bare_environment(tools_without_compilers(directory / "bin")) | {"OMP_WAIT_POLICY": "passive"}
    nodes = Nodes(directory, controller, environment)
    prepare(PRESET, nodes.overrides)
    try:
        for role in (role for role in ROLES if role not in without):
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
        """Looks until it is cancelled."""
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

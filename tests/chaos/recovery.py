"""A launched run that is killed here and there: its processes, its status, and its books at the end."""

import asyncio
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from areal_mesh.client import MeshClient, MeshClientError, RunStatus, ServiceState
from areal_mesh.replay.inspection.reading import read_log
from tests.e2e.bare_environment import bare_environment, tools_without_compilers
from tests.e2e.whole_mesh import COMMAND, arguments_of, service_process

POLL_SECONDS = 0.02
PROGRESS_SECONDS = 240.0
REPLAY_SECONDS = 1800.0


@dataclass
class LaunchedRun:
    """A run under its launcher; started again it goes on."""

    directory: Path
    name: str
    controller: str
    overrides: tuple[str, ...]
    environment: dict[str, str]
    preset: str = "trial-short"
    process: "subprocess.Popen[bytes] | None" = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.directory / "launcher.log"

    @property
    def folder(self) -> Path:
        """The run's directory."""
        return self.directory / self.name

    def start(self) -> None:
        """Starts the launcher, by the same command each time."""
        named = (f"name={self.name}", f"controller.listen={self.controller}", *self.overrides)
        with self.log.open("ab") as output:
            command = arguments_of(self.preset, self.directory, *named)
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Of the launcher."""
        assert self.process is not None
        return self.process.pid

    def kill(self, role: str) -> None:
        """kill -9 of a role's process, until it is gone."""
        process = service_process(self.pid, role)
        process.kill()
        process.wait(timeout=30)

    def kill_everything(self) -> None:
        """kill -9 of the launcher and of all that it started, as a loss of power."""
        launcher = psutil.Process(self.pid)
        victims = [launcher, *launcher.children(recursive=True)]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.suspend()
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        assert self.process is not None
        self.process.wait(timeout=30)
        psutil.wait_procs(victims[1:], timeout=30)

    def last_lines(self) -> str:
        """What the launcher printed last."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    async def status(self) -> RunStatus | None:
        """The status; None while no controller answers."""
        with suppress(MeshClientError):
            async with MeshClient.connect(self.controller, timeout=1.0) as client:
                return await client.status()
        return None

    async def until(self, what: str, holds: Callable[[RunStatus], bool], seconds: float = PROGRESS_SECONDS) -> float:
        """Seconds until the status is so; AssertionError with the launcher's last lines if it never is."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            status = await self.status()
            if status is not None and holds(status):
                return time.monotonic() - begun
            assert self.process is not None
            assert self.process.poll() is None, f"the run ended before {what}:\n{self.last_lines()}"
            await asyncio.sleep(POLL_SECONDS)
        raise AssertionError(f"{what} never came in {seconds:.0f} s:\n{self.last_lines()}")

    async def stop(self) -> int:
        """Stops the run after the step in progress; the launcher's exit code."""
        async with MeshClient.connect(self.controller, timeout=10.0) as client:
            await client.stop("enough")
        assert self.process is not None
        return self.process.wait(timeout=120)


@contextmanager
def launched(directory: Path, name: str, port: int, *overrides: str) -> Iterator[LaunchedRun]:
    """A started run; whatever is left of it at the end is killed."""
    with tempfile.TemporaryDirectory(prefix="tools ") as tools:
        path = tools_without_compilers(Path(tools) / "bin")
        environment = bare_environment(path) | {"TORCHINDUCTOR_CACHE_DIR": tools}
        run = LaunchedRun(directory, name, f"127.0.0.1:{port}", overrides, environment)
        run.start()
        try:
            yield run
        finally:
            if run.process is not None and run.process.poll() is None:
                run.process.send_signal(signal.SIGINT)
                run.process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(timeout=30)
                if run.process.poll() is None:
                    run.kill_everything()


def life_of(status: RunStatus, role: str) -> tuple[int, bool]:
    """How often a role was started, and whether it serves now."""
    for service in status.services:
        if service.role == role:
            return service.starts, service.state is ServiceState.SERVING
    return 0, False


def check_books(folder: Path, batch_groups: int, max_staleness: int) -> int:
    """Holds the ledger of a stopped run against its replay log; returns its steps.

    Every step has its batch, in both the same, and no group is in two; every group ended once or is open; no token is
    older than the bound.
    """
    log = read_log(folder / "replay", whole_groups=True)
    assert log.damages == []
    with sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True) as ledger:
        steps = [step for (step,) in ledger.execute("SELECT step FROM steps ORDER BY step")]
        assert steps == list(range(1, len(steps) + 1))
        trained: dict[int, set[str]] = {step: set() for step in steps}
        for step, group_id in ledger.execute("SELECT step, group_id FROM groups WHERE state = 'trained'"):
            trained[step].add(group_id)
        states = dict(ledger.execute("SELECT state, count(*) FROM groups GROUP BY state"))
        leased = int(ledger.execute("SELECT max(sequence) + 1 FROM groups").fetchone()[0])
    assert sum(states.values()) == leased, states
    seen: set[str] = set()
    for step in steps:
        batch = log.contents.batches[step]
        assert len(batch) == batch_groups
        assert trained[step] == set(batch), f"step {step}"
        assert not seen & set(batch), f"step {step}"
        seen |= set(batch)
        oldest = min(log.contents.groups[group_id].summary.oldest_policy_version for group_id in batch)
        assert step - 1 - oldest <= max_staleness, f"step {step}"
    return len(steps)


def replay_equals(folder: Path) -> str:
    """`areal-mesh log replay` of a run; what it printed. AssertionError where its weights are not the run's."""
    done = subprocess.run(
        [str(COMMAND), "log", "replay", "--run", str(folder)],
        capture_output=True,
        text=True,
        timeout=REPLAY_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "equal to the replay's bit for bit" in done.stdout
    return done.stdout.strip()

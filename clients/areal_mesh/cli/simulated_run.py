"""The real controller and replay buffer as processes of their own, and simulated members at work with them."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.simulated_figures import Watch
from areal_mesh.runtime.orphans import OrphanGuard, kill_session
from areal_mesh.runtime.reward_range import clipped, correctness_term
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.simulation.mesh import SimulatedMesh
from areal_mesh.simulation.plan import Plan

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOG_LINES = 3
SHORTEST_HEARTBEAT = 0.05
"""So that the services know of each other as often, for the steps they take, as they do in a run that is not
compressed."""


def run_plan(plan: Plan, settings: RunSettings, file: Path, progress_seconds: float) -> Watch:
    """Runs a plan to its end.

    Args:
        file: of the settings; what the services print lies beside it.
        progress_seconds: between two lines on standard error.

    Raises:
        CommandFailed: a service ended before the run did.
    """
    with _services(file) as processes:
        watch = Watch(plan, processes["controller"].pid, progress_seconds)
        try:
            asyncio.run(_run(plan, settings, file, processes, watch))
        except* _Ended as group:
            raise CommandFailed(str(group.exceptions[0])) from None
        except* TimeoutError:
            said = _said(file, "controller")
            raise CommandFailed(f"the services did not start within {_START_SECONDS:.0f} s{said}") from None
        _finish(processes)
    return watch


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Ended(Exception):
    """A service ended before the run did."""


async def _run(
    plan: Plan, settings: RunSettings, file: Path, processes: "dict[str, subprocess.Popen[bytes]]", watch: Watch
) -> None:
    algorithm = settings.algorithm
    rewards = (
        clipped(correctness_term(False, algorithm), algorithm),
        clipped(correctness_term(True, algorithm), algorithm),
    )
    mesh = SimulatedMesh(plan, rewards, settings.name)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch.follow(mesh.figures))
        guarding = tasks.create_task(_guard(file, processes))
        await mesh.run(str(settings.controller.address), _START_SECONDS)
        watching.cancel()
        guarding.cancel()
    watch.finish()


async def _guard(file: Path, processes: "dict[str, subprocess.Popen[bytes]]") -> None:
    """Raises _Ended once a service has ended."""
    while True:
        for role, process in processes.items():
            if process.poll() is not None:
                raise _Ended(f"the {role} ended with exit code {process.returncode}{_said(file, role)}")
        await asyncio.sleep(0.5)


def _said(file: Path, role: str) -> str:
    """The end of a service's output, if it said anything."""
    path = file.parent / f"{role}.out"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "".join(f"\n  {line}" for line in lines[-_LOG_LINES:])


@contextmanager
def _services(file: Path) -> "Iterator[dict[str, subprocess.Popen[bytes]]]":
    """The controller and the replay buffer, as `areal-mesh serve` runs them; killed when left."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with OrphanGuard() as guard:
        try:
            for role in ("controller", "replay"):
                processes[role] = _start(role, file)
                guard.watch(processes[role].pid)
            yield processes
        finally:
            for process in processes.values():
                kill_session(process.pid)
                process.wait()
                guard.release(process.pid)


def _start(role: str, file: Path) -> "subprocess.Popen[bytes]":
    command: Sequence[str] = (sys.executable, "-m", "areal_mesh.cli", "serve", role, "--config", str(file))
    with (file.parent / f"{role}.out").open("wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def _finish(processes: "dict[str, subprocess.Popen[bytes]]") -> None:
    """Waits for the services, which end with the run.

    Raises:
        CommandFailed: one did not, or failed.
    """
    for role, process in processes.items():
        try:
            code = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"the {role} did not end within {_STOP_SECONDS:.0f} s of the run's end") from error
        if code:
            raise CommandFailed(f"the {role} ended with exit code {code}")

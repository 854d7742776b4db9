"""`areal-mesh simulate`: the real controller and replay buffer under simulated generators and a simulated learner."""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.simulated_figures import Watch, as_json, show
from areal_mesh.runtime.orphans import OrphanGuard, kill_session
from areal_mesh.runtime.reward_range import clipped, correctness_term
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings
from areal_mesh.simulation.mesh import SimulatedMesh
from areal_mesh.simulation.plan import Plan

_PROMPTS = 10_000
_RUN_NAME = "simulated"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOG_LINES = 3
# So that the services know of each other as often, for the steps they take, as they do in a run that is not compressed.
_SHORTEST_HEARTBEAT = 0.05


def simulate(plan: Plan, as_object: bool, progress_seconds: float) -> None:
    """Runs a plan to its end; prints how it goes on standard error, and one table, or one JSON object, at the end.

    Raises:
        CommandFailed: the settings do not hold, or a service ended before the run did.
    """
    with tempfile.TemporaryDirectory(prefix="areal-mesh-simulate-") as folder:
        file = write_run(Path(folder), plan)
        try:
            settings = load_settings(str(file))
        except SettingsError as error:
            raise CommandFailed(f"the simulated run's settings do not hold: {'; '.join(error.faults)}") from error
        with _services(settings, file) as processes:
            watch = Watch(plan, processes["controller"].pid, progress_seconds)
            try:
                asyncio.run(_run(plan, settings, processes, watch))
            except* _Ended as group:
                raise CommandFailed(str(group.exceptions[0])) from None
            except* TimeoutError:
                raise CommandFailed(f"the services did not start within {_START_SECONDS:.0f} s{_said(file)}") from None
            _finish(processes)
    if as_object:
        print(json.dumps(as_json(watch)))
    else:
        show(watch)


def write_run(folder: Path, plan: Plan) -> Path:
    """Writes a plan's run into an empty folder: its settings, made-up prompts; returns the settings' file."""
    prompts = folder / "prompts.jsonl"
    lines = ({"id": f"p{number}", "problem": f"{number} + 1?", "answer": str(number + 1)} for number in range(_PROMPTS))
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    lengths = plan.lengths
    settings = {
        "name": _RUN_NAME,
        "directory": str(folder),
        "model": {"folder": str(folder)},
        "prompts": {"file": str(prompts)},
        "stages": [{"name": "simulated", "max_response_tokens": lengths.limit, "max_steps": plan.steps}],
        "algorithm": {
            "batch_groups": plan.batch_groups,
            "responses": lengths.responses,
            "max_staleness": plan.max_staleness,
            "minibatches": 1,
        },
        "controller": {
            "listen": f"127.0.0.1:{_free_port()}",
            "heartbeat_seconds": max(_SHORTEST_HEARTBEAT, min(1.0, plan.real(1.0))),
        },
        # A week of simulated groups is to test the services, not the disk.
        "replay": {"listen": "127.0.0.1:0", "durability": "none", "patience_seconds": plan.real(600.0)},
    }
    file = folder / "run.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Ended(Exception):
    """A service ended before the run did."""


async def _run(
    plan: Plan, settings: RunSettings, processes: "dict[str, subprocess.Popen[bytes]]", watch: Watch
) -> None:
    algorithm = settings.algorithm
    rewards = (
        clipped(correctness_term(False, algorithm), algorithm),
        clipped(correctness_term(True, algorithm), algorithm),
    )
    mesh = SimulatedMesh(plan, rewards, _RUN_NAME)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch.follow(mesh.figures))
        guarding = tasks.create_task(_guard(settings, processes))
        await mesh.run(str(settings.controller.address), _START_SECONDS)
        watching.cancel()
        guarding.cancel()
    watch.finish()


async def _guard(settings: RunSettings, processes: "dict[str, subprocess.Popen[bytes]]") -> None:
    """Raises _Ended once a service has ended."""
    while True:
        for role, process in processes.items():
            if process.poll() is not None:
                raise _Ended(f"the {role} ended with exit code {process.returncode}{_said(settings.directory / role)}")
        await asyncio.sleep(0.5)


def _said(log: Path) -> str:
    """The end of a service's output, if it said anything."""
    path = log.with_suffix(".out")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "".join(f"\n  {line}" for line in lines[-_LOG_LINES:])


@contextmanager
def _services(settings: RunSettings, file: Path) -> "Iterator[dict[str, subprocess.Popen[bytes]]]":
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

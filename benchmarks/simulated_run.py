"""A real controller on the first core, and simulated members at their work on the others."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.controller_process import controller_process, write_settings
from benchmarks.meshrun import free_port
from benchmarks.simulated import Load, SimulatedMesh

_START_SECONDS = 120.0


@dataclass(frozen=True)
class SimulatedRun:
    """A run that goes on. `process` is the controller's id, `address` where it answers."""

    process: int
    address: str
    mesh: SimulatedMesh


@asynccontextmanager
async def simulated_run(
    members: int, load: Load, batch_groups: int, max_staleness: int, cores: list[int]
) -> AsyncIterator[SimulatedRun]:
    """From the first lease on; all of it ends when it is left. Raises TimeoutError where no generator leases."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        address = f"127.0.0.1:{port}"
        settings = write_settings(Path(folder), port, cores[0], batch_groups, max_staleness)
        with controller_process(settings, cores[0]) as process:
            os.sched_setaffinity(0, set(cores[1:]))
            mesh = SimulatedMesh(controller=address, load=load, max_staleness=max_staleness)
            server, own_port = await mesh.serve_all()
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(mesh.run(members, own_port))
                await mesh.started(_START_SECONDS)
                yield SimulatedRun(process.pid, address, mesh)
                running.cancel()
            await server.stop(0)

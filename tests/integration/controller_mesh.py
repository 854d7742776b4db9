"""A controller that serves on a port of its own, and the members that join it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from areal_mesh.controller.service import ControllerService, build
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import common_pb2, generator_pb2_grpc, learner_pb2_grpc, replay_pb2_grpc, status_pb2, status_pb2_grpc
from tests.integration.controller_peers import SECONDS, Generator, Learner, Replay


def settings_in(
    folder: Path, controller: dict[str, Any] | None = None, sync_every: int = 1, **algorithm: Any
) -> RunSettings:
    prompts = folder / "prompts.jsonl"
    lines = [json.dumps({"id": f"p{n}", "problem": f"{n} + 1", "answer": str(n + 1)}) for n in range(7)]
    prompts.write_text("\n".join(lines))
    return RunSettings.model_validate(
        {
            "name": "mesh",
            "directory": folder / "runs",
            "stages": [
                {"name": "short", "max_response_tokens": 8, "max_steps": 2},
                {"name": "long", "max_response_tokens": 16, "max_steps": 2},
            ],
            "algorithm": {"batch_groups": 2, "responses": 4, "max_staleness": 1} | algorithm,
            "model": {"folder": folder},
            "prompts": {"file": prompts},
            "controller": {"listen": "127.0.0.1:0", "heartbeat_seconds": 0.1, "lease_seconds": 6, "drain_seconds": 3}
            | (controller or {}),
            "weights": {"sync_every": sync_every},
        }
    )


@asynccontextmanager
async def controller(settings: RunSettings, run_id: str = "") -> AsyncIterator[tuple[ControllerService, str]]:
    """A controller that serves; left, it is gone as if killed, members not waited for."""
    context = ServiceContext(settings, Identity("controller", "controller"), "", run_id)
    service = build(context)
    assert isinstance(service, ControllerService)
    server = MeshServer(settings.controller.listen, limits=settings.security.limits)
    service.attach(server)
    port = await server.start()
    await service.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(service.run(context.draining))
            yield service, str(Address(settings.controller.address.host, port))
            working.cancel()
    finally:
        await server.stop(0)
        await service.close()


@dataclass
class Mesh:
    stack: AsyncExitStack

    async def generator(self, address: str, name: str = "generator-0", ready: bool = True, **changes: Any) -> Generator:
        generator = Generator("generator", name, self.stack, **changes)  # type: ignore[abstract]
        if ready:
            generator.may_receive.set()
        await generator.serve(
            generator_pb2_grpc.add_GeneratorServiceServicer_to_server, "areal_mesh.v1.GeneratorService"
        )
        await generator.join(address)
        return generator

    async def learner(self, address: str, version: int = 0) -> Learner:
        learner = Learner("learner", "learner", self.stack, version)
        await learner.serve(learner_pb2_grpc.add_LearnerServiceServicer_to_server, "areal_mesh.v1.LearnerService")
        await learner.join(address)
        return learner

    async def replay(self, address: str, **stored: int) -> Replay:
        replay = Replay("replay", "replay", self.stack, stored=stored)
        await replay.serve(replay_pb2_grpc.add_ReplayServiceServicer_to_server, "areal_mesh.v1.ReplayService")
        await replay.join(address)
        return replay

    async def watch(self, address: str) -> AsyncIterator[status_pb2.RunStatus]:
        """The status at each change."""
        async with open_channel(address, Identity("client", "person")) as channel:
            stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
            request = status_pb2.WatchStatusRequest(interval=to_duration(0.1))
            async for update in stub.WatchStatus(request, timeout=SECONDS):
                yield update.status

    async def status(self, address: str) -> status_pb2.RunStatus:
        async with open_channel(address, Identity("client", "person")) as channel:
            stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
            return (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=SECONDS)).status


def states_of(status: status_pb2.RunStatus) -> dict[str, common_pb2.ServiceState.ValueType]:
    """State of each member, by its id."""
    return {service.service_id: service.state for service in status.services}

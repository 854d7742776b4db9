"""A whole generator service, engine aside, between servicers of the contracts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from areal_mesh.generator.service import GeneratorEngine, GeneratorService
from areal_mesh.prompts.renderer import Tokenizer
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.v1 import common_pb2, controller_pb2, generator_pb2, generator_pb2_grpc, weights_pb2
from tests.integration.generator_contracts import (
    DEADLINE,
    CharacterTokenizer,
    Controller,
    Replay,
    SimulatedEngine,
    Verifier,
    run_settings,
    serve,
)

TRANSFER_KEY = bytes(range(16))


def heard_controller() -> HeardStanding:
    """What a member knows of a controller whose transfers have TRANSFER_KEY."""
    standing = HeardStanding()
    standing.hear(controller_pb2.RunStanding(transfer_key=TRANSFER_KEY))
    return standing


@dataclass
class Starter:
    """Starts the simulated engine."""

    simulated: SimulatedEngine
    found: CharacterTokenizer = field(default_factory=CharacterTokenizer)

    async def engine(self, settings: RunSettings, end_token_ids: tuple[int, ...]) -> GeneratorEngine:
        self.simulated.end_token_ids = end_token_ids
        return self.simulated

    def tokenizer(self, settings: RunSettings) -> Tokenizer:
        return self.found


@dataclass
class Mesh:
    """A running generator and what is around it."""

    service: GeneratorService
    context: ServiceContext
    stub: Any
    controller_server: MeshServer
    verifier_server: MeshServer
    replay_server: MeshServer
    controller: Controller
    verifier: Verifier
    replay: Replay
    engine: SimulatedEngine
    address: str
    """Of the generator."""

    async def publish(self, version: int, transfer_id: str = "") -> generator_pb2.ReceiveWeightsResponse:
        transfer_id = transfer_id or f"publish-{version}"
        await self.stub.PrepareWeights(prepare_request(version, transfer_id), timeout=DEADLINE)
        return await self.receive(version, transfer_id)

    async def receive(self, version: int, transfer_id: str) -> generator_pb2.ReceiveWeightsResponse:
        request = receive_request(version, transfer_id)
        request.digests = True
        response: generator_pb2.ReceiveWeightsResponse = await self.stub.ReceiveWeights(request, timeout=DEADLINE)
        return response

    async def ended(self, *problems: str) -> dict[str, controller_pb2.EndLeaseRequest]:
        """Waits until all of them ended."""
        await self.controller.changes.until(lambda: all(self.controller.end_of(problem) for problem in problems))
        return {problem: self.controller.ends[f"group-{problem}"] for problem in problems}


def prepare_request(version: int, transfer_id: str) -> generator_pb2.PrepareWeightsRequest:
    tensor = weights_pb2.TensorSpec(name="w", dtype="float32", shape=[2, 2])
    group = weights_pb2.TransferGroup(group_id="members", endpoint="tcp://127.0.0.1:1234", world_size=2, rank=1)
    group.timeout.FromSeconds(5)
    manifest = weights_pb2.WeightManifest(policy_version=version, tensors=[tensor], bucket_bytes=1024)
    return generator_pb2.PrepareWeightsRequest(
        manifest=manifest, group=group, transfer_id=transfer_id, transfer_key=TRANSFER_KEY
    )


def receive_request(version: int, transfer_id: str) -> generator_pb2.ReceiveWeightsRequest:
    return generator_pb2.ReceiveWeightsRequest(
        policy_version=version, transfer_id=transfer_id, transfer_key=TRANSFER_KEY
    )


@asynccontextmanager
async def mesh_of(folder: Path, **generator: Any) -> AsyncIterator[Mesh]:
    # What the stubs call abstract answers UNIMPLEMENTED, as it should.
    controller, verifier = Controller(), Verifier()  # type: ignore[abstract]
    replay, engine = Replay(), SimulatedEngine()  # type: ignore[abstract]
    servers = [await serve(servicer) for servicer in (controller, verifier, replay)]
    controller.addresses = {
        common_pb2.ROLE_VERIFIER: f"127.0.0.1:{servers[1].port}",
        common_pb2.ROLE_REPLAY: f"127.0.0.1:{servers[2].port}",
    }
    settings = run_settings(folder, **generator)
    context = ServiceContext(settings, Identity("generator", "generator-0"), f"127.0.0.1:{servers[0].port}")
    context.standing = heard_controller()
    service = GeneratorService(context, Starter(engine))
    own = MeshServer("127.0.0.1:0")
    service.attach(own)
    port = await own.start()
    await service.start()
    async with open_channel(f"127.0.0.1:{port}", Identity("controller", "controller-0")) as channel:
        stub = generator_pb2_grpc.GeneratorServiceStub(channel)
        around = (servers[0], servers[1], servers[2], controller, verifier, replay)
        mesh = Mesh(service, context, stub, *around, engine, f"127.0.0.1:{port}")
        try:
            yield mesh
        finally:
            await service.close()
            for server in (own, mesh.controller_server, mesh.verifier_server, mesh.replay_server):
                await server.stop(0)


async def run_mesh(
    folder: Path, work: Callable[[Mesh], Awaitable[None]], published: bool = True, **generator: Any
) -> Mesh:
    """Runs a generator from its first weights until `work` is done, then drains it."""
    async with mesh_of(folder, **generator) as mesh:
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
            tasks.create_task(mesh.service.run(mesh.context.draining))
            if published:
                await mesh.publish(3)
            await work(mesh)
            mesh.context.draining.set()
        return mesh
